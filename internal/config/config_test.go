package config_test

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"

	"github.com/rapport-rl/rapport/internal/config"
)

func TestDefaultIsValid(t *testing.T) {
	if err := config.Default().Validate(); err != nil {
		t.Fatal(err)
	}
}

func TestShippedFileShowsEveryKey(t *testing.T) {
	for _, key := range config.Keys() {
		path, err := yaml.PathString("$." + key)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := path.ReadNode(strings.NewReader(string(config.DefaultYAML()))); err != nil {
			t.Errorf("default.yaml lacks %s: %v", key, err)
		}
	}
}

func TestYAMLRoundTrip(t *testing.T) {
	want := config.Default()
	want.Robot.Task = "reach"
	want.Policy.Axes = []string{"x", "y", "z", "grip"}
	want.Guard.Workspace.Max[2] = 0.4
	b, err := want.YAML()
	if err != nil {
		t.Fatal(err)
	}
	file := write(t, string(b))
	got, err := config.Load(file, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

// All that is wrong in a file is told at once, with its line, and the rest of the file counts.
func TestMistakesOfAFileAreToldAtOnce(t *testing.T) {
	file := write(t, "name: a\nrobot: {tsk: reach}\ndemos: {god: 3, bad: 7}\nseed: x\nlearner:\n  batch: [1]\n  nothing: 2\nout: elsewhere\n"+
		"robot.horizon: 5\nguard: {gate: [require]}\nbus: x\n")
	c, err := config.Load(file, nil, []string{"session.episodes=-1", "robot.bodi=ball"})
	if err == nil {
		t.Fatal("taken")
	}
	for _, want := range []string{
		file + ": line 2: there is no key robot.tsk; near it: robot.task",
		"line 3: there is no key demos.god; near it: demos.good",
		"line 4: seed does not take \"x\": want a whole number",
		"line 6: learner.batch does not take \"[1]\": want a whole number",
		"line 7: there is no key learner.nothing",
		"line 9: robot.horizon: in a file, keys nest, as robot: {horizon: VALUE}",
		"line 10: guard.gate does not take \"[require]\": want a word",
		"line 11: bus does not take \"x\": it is a group of keys",
		"session.episodes", "robot.bodi",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in:\n%v", want, err)
		}
	}
	if c.Name != "a" || c.Out != "elsewhere" || c.Demos.Bad != 7 {
		t.Errorf("name %s, out %s, demos.bad %d: the rest of the file does not count", c.Name, c.Out, c.Demos.Bad)
	}
	if _, err := config.Load(write(t, "robot: {cameras: [{name: front, widht: 3}]}\n"), nil, nil); err == nil || !strings.Contains(err.Error(), "robot.cameras") || !strings.Contains(err.Error(), "widht") {
		t.Errorf("in an item of a list: %v", err)
	}
}

// A workspace of two numbers would have its floor at 0, and a fraction would be cut off.
func TestWhatDoesNotFitIsRefused(t *testing.T) {
	for _, tt := range []struct {
		file, set, want string // "" for what is taken
	}{
		{"guard: {workspace: {min: [0.2, -0.3]}}", "guard.workspace.min=[0.2, -0.3]", `guard.workspace.min does not take "[0.2, -0.3]": want 3 numbers`},
		{"guard: {workspace: {min: [0.2, -0.3, 0, 1]}}", "guard.workspace.min=[0.2, -0.3, 0, 1]", "guard.workspace.min does not take \"[0.2, -0.3, 0, 1]\": want 3 numbers"},
		{"guard: {workspace: {min: [0.2, -0.3, null]}}", "guard.workspace.min=[0.2, -0.3, null]", "want 3 numbers"},
		{"guard: {workspace: {min: &a [0.2, -0.3]}}", "", "guard.workspace.min does not take \"[0.2, -0.3]\": want 3 numbers"},
		{"guard:\n  workspace:\n    min: &a [0.2, -0.3, 0]\n    max: [0.7, 0.3]", "", "line 4: guard.workspace.max"},
		{"guard: {workspace: {min: [0.2, -0.3, 0.01]}}", "guard.workspace.min=[0.2, -0.3, 0.01]", ""},
		{"robot: {ros: {load: {centre: [0, 0]}}}", "robot.ros.load.centre=[0, 0]", "robot.ros.load.centre"},
		{"seed: 1.5", "seed=1.5", `seed does not take "1.5": want a whole number`},
		{"seed: 1e3", "seed=1e3", ""},
		{"seed: 12", "seed=0xc", ""},
		{"session: {realign: 5e-1}", "session.realign=5e-1", "session.realign"},
		{"learner: {replay: {jpeg: 0.9}}", "learner.replay.jpeg=0.9", `learner.replay.jpeg does not take "0.9": want a whole number`},
		{"session: {episodes: -.inf}", "session.episodes=-.inf", "session.episodes"},
		{"policy: {hidden: [64, 0.5]}", "policy.hidden=[64, 0.5]", `policy.hidden[1] does not take "0.5": want a whole number`},
		{"robot: {cameras: [{name: front, width: 32.5, height: 24}]}", "robot.cameras=[{name: front, width: 32.5, height: 24}]", `robot.cameras[0].width does not take "32.5": want a whole number`},
		{"session: {<<: {realign: 0.5}}", "", `session.realign does not take "0.5"`},
		// Nothing changes nothing in a file, and is no value elsewhere.
		{"", "guard.workspace.min=null", `guard.workspace.min does not take "null": want 3 numbers`},
		{"", "seed=~", `seed does not take "~": want a whole number`},
		{"", "seed= ", `seed does not take " ": want a whole number`},
		{"", "seed=# 7", `seed does not take "# 7"`},
		{"", "seed=---", `seed does not take "---"`},
		{"", "session.record=null", "want true or false"},
		{"", "people.groups=null", "want a list"},
		{"", "people.groups=[]", ""},
		{"", "reward.person=", ""},
		{"seed: null", "", ""},
	} {
		for what, load := range map[string]func() (config.Config, error){
			tt.file:           func() (config.Config, error) { return config.Load(write(t, tt.file+"\n"), nil, nil) },
			"--set " + tt.set: func() (config.Config, error) { return config.Load("", nil, []string{tt.set}) },
		} {
			if what == "" || what == "--set " {
				continue
			}
			_, err := load()
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("%s: %v, want %q", what, err, tt.want)
			}
		}
	}
	if _, err := config.Load("", []string{"RAPPORT_SEED= "}, nil); err == nil || !strings.Contains(err.Error(), `RAPPORT_SEED: seed does not take " "`) {
		t.Errorf("RAPPORT_SEED=' ': %v", err)
	}
}

// What stands above a file counts even where there is none, and a new one is advised only then.
func TestAFileThatCannotBeRead(t *testing.T) {
	for name, advised := range map[string]bool{filepath.Join(t.TempDir(), "nosuch.yaml"): true, t.TempDir(): false} {
		c, err := config.Load(name, []string{"RAPPORT_NAME=b"}, []string{"out=here", "robot.tsk=1"})
		if err == nil || !strings.Contains(err.Error(), "robot.tsk") || strings.Contains(err.Error(), "rapport config >") != advised {
			t.Errorf("%v", err)
		}
		if c.Name != "b" || c.Out != "here" {
			t.Errorf("%s: name %s, out %s", name, c.Name, c.Out)
		}
	}
}

func TestPrecedence(t *testing.T) {
	file := write(t, "robot: {horizon: 50}\n")
	for _, tt := range []struct {
		name          string
		file          string
		environ, sets []string
		want          int
	}{
		{"default", "", nil, nil, 45},
		{"file over default", file, nil, nil, 50},
		{"environment over file", file, []string{"RAPPORT_ROBOT_HORIZON=60", "OTHER=1"}, nil, 60},
		{"flag over environment", file, []string{"RAPPORT_ROBOT_HORIZON=60"}, []string{"robot.horizon=70"}, 70},
		{"the last flag wins", file, nil, []string{"robot.horizon=70", "robot.horizon=80"}, 80},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := config.Load(tt.file, tt.environ, tt.sets)
			if err != nil {
				t.Fatal(err)
			}
			if c.Robot.Horizon != tt.want {
				t.Errorf("horizon %d, want %d", c.Robot.Horizon, tt.want)
			}
		})
	}
}

// A variable that the program reads by its name is no key, and hinders no command.
func TestVariablesThatAreNoKeysAreTaken(t *testing.T) {
	read := regexp.MustCompile(`(?:os\.(?:Getenv|LookupEnv)|\bget)\("(RAPPORT_\w+)"\)`)
	found := map[string]bool{}
	for _, dir := range []string{"cmd", "internal", "perception", "policy", "reward", "robot", "sim"} {
		err := filepath.WalkDir(filepath.Join("..", "..", dir), func(name string, e os.DirEntry, err error) error {
			if err != nil || e.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
				return err
			}
			b, err := os.ReadFile(name)
			for _, m := range read.FindAllStringSubmatch(string(b), -1) {
				found[m[1]] = true
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if !found["RAPPORT_CUDA_LIBS"] || !found["RAPPORT_EGL"] || !found["RAPPORT_VLM_DEADLINE"] {
		t.Fatalf("found %v", found)
	}
	for name := range found {
		if _, err := config.Load("", []string{name + "=x"}, nil); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestEveryKeyCanBeSet(t *testing.T) {
	names := map[string]string{}
	for _, key := range config.Keys() {
		if other, ok := names[config.EnvName(key)]; ok {
			t.Errorf("%s and %s share %s", key, other, config.EnvName(key))
		}
		names[config.EnvName(key)] = key
	}
	c := config.Default()
	for key, value := range map[string]string{
		"robot.cameras":       "[{name: wrist, width: 32, height: 24}]",
		"guard.workspace.min": "[0.1, -0.1, 0]",
		"policy.axes":         "[x]",
		"session.record":      "false",
		"seed":                "18446744073709551615",
		"learner.rate":        "1e-4",
	} {
		if err := c.Set(key, value); err != nil {
			t.Errorf("%s=%s: %v", key, value, err)
		}
	}
	if c.Robot.Cameras[0].Height != 24 || c.Seed != 1<<64-1 || c.Session.Record || c.Learner.Rate != 1e-4 {
		t.Errorf("set values did not arrive: %+v", c)
	}
}

func TestBadInputIsNamed(t *testing.T) {
	for _, tt := range []struct {
		name          string
		file          string
		environ, sets []string
		want          []string
	}{
		{"unknown key in the file", "robot: {tsk: group}\n", nil, nil, []string{"session.yaml", "tsk"}},
		{"wrong type in the file", "seed: many\n", nil, nil, []string{"session.yaml", "seed"}},
		{"not YAML", "robot: [", nil, nil, []string{"session.yaml"}},
		{"unknown key in a flag", "", nil, []string{"robot.tsk=group"}, []string{"robot.tsk", "robot.task"}},
		{"flag without a value", "", nil, []string{"robot.task"}, []string{"key=value"}},
		{"wrong type in a flag", "", nil, []string{"robot.horizon=long"}, []string{"robot.horizon", "a whole number"}},
		{"empty number in a flag", "", nil, []string{"robot.horizon="}, []string{"robot.horizon", "a whole number"}},
		{"unknown variable", "", []string{"RAPPORT_ROBOT_TSK=group"}, nil, []string{"RAPPORT_ROBOT_TSK", "rapport config"}},
		{"everything at once", "robot: {task: juggle, timestep: 0.003, cameras: []}\nreward: {gamma: -1}\n",
			[]string{"RAPPORT_SEED=x"}, []string{"policy.axes=[w]", "learner.batch=7"},
			[]string{"robot.task", "juggle", "robot.timestep", "robot.cameras", "reward.gamma", "RAPPORT_SEED", "policy.axes", "learner.batch"}},
		{"missing backbone", "encoder: {kind: onnx, onnx: nowhere.onnx}\n", nil, nil, []string{"encoder.onnx", "nowhere.onnx", "torch.onnx.export"}},
		{"two servers", "bus: {url: 'nats://a:1', listen: 'b:2'}\n", nil, nil, []string{"bus.listen", "bus.url"}},
		{"name that is a path", "name: ../x\n", nil, nil, []string{"name", "../x"}},
		{"a policy's faults without a person on an arm", "", nil, []string{"robot.kind=ros", "guard.recover.max_per_hour=61", "guard.recover.causes=[failed, limits]"},
			[]string{"guard.recover.causes", "limits", "on an arm a person looks at it first", "guard.recover.max_per_hour", "60"}},
		{"a start in the table", "", nil, []string{"robot.kind=ros", "robot.ros.start.at=[0.4, 0, -0.05]"}, []string{"robot.ros.start.at", "outside of guard.workspace"}},
		{"a start nowhere", "", nil, []string{"robot.kind=ros", "robot.ros.start.at=[.nan, 0, 0.2]"}, []string{"robot.ros.start.at", "outside of guard.workspace"}},
		{"particles weighed by nothing", "", nil, []string{"policy.diffusion.sampler.kind=fk", "policy.diffusion.sampler.scale=0"}, []string{"policy.diffusion.sampler.scale", "is 0", "sampler.kind best"}},
		{"a switch that moves the fingers", "", nil, []string{"teleop.input=joy", "robot.pace=real", "teleop.deadman=1"}, []string{"teleop.deadman", "teleop.close", "fingers"}},
		{"one button for both ways", "", nil, []string{"teleop.input=bus", "robot.pace=real", "teleop.open=1"}, []string{"teleop.open", "teleop.close"}},
		{"a reading that is stale at the next tick", "", nil, []string{"teleop.stale=0.09"}, []string{"teleop.stale", "0.1"}},
		{"NaN", "guard: {speed: .nan}\n", nil, nil, []string{"guard.speed"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			file := ""
			if tt.file != "" {
				file = write(t, tt.file)
			}
			_, err := config.Load(file, tt.environ, tt.sets)
			if err == nil {
				t.Fatal("no error")
			}
			for _, w := range tt.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("error does not name %q:\n%v", w, err)
				}
			}
		})
	}
}

func TestASimulatedArmMayGoUnattended(t *testing.T) {
	u := config.Unattended()
	c, err := config.Load("", nil, []string{fmt.Sprintf("guard.recover.max_per_hour=%d", u.MaxPerHour), "guard.recover.causes=[" + strings.Join(u.Causes, ", ") + "]"})
	if err != nil || !reflect.DeepEqual(c.Guard.Recover, u) {
		t.Errorf("got %+v, %v; want %+v", c.Guard.Recover, err, u)
	}
	c.Robot.Kind = "ros"
	if err := c.Validate(); err == nil || !strings.Contains(err.Error(), "guard.recover.causes") {
		t.Errorf("on an arm: %v", err)
	}
}

func TestMissingFileNamesTheRemedy(t *testing.T) {
	_, err := config.Load(filepath.Join(t.TempDir(), "none.yaml"), nil, nil)
	if err == nil || !strings.Contains(err.Error(), "rapport config") {
		t.Errorf("got %v", err)
	}
}

func FuzzLoad(f *testing.F) {
	f.Add(config.DefaultYAML())
	f.Add([]byte("robot: {cameras: [{name: front}]}"))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := config.Load(write(t, string(b)), nil, nil)
		if err == nil && c.Validate() != nil {
			t.Error("Load let an invalid configuration pass")
		}
	})
}

func write(t *testing.T, s string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "session.yaml")
	if err := os.WriteFile(file, []byte(s), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// What somebody does to his defaults is nobody else's.
func TestDefaultsAreEverybodysOwn(t *testing.T) {
	want := config.Default()
	var crew sync.WaitGroup
	for range 4 {
		crew.Go(func() {
			c := config.Default()
			c.Policy.Axes[0], c.Robot.Cameras[0].Name, c.Seed = "spoilt", "spoilt", 99
		})
	}
	crew.Wait()
	if diff := cmp.Diff(want, config.Default()); diff != "" {
		t.Errorf("the defaults changed:\n%s", diff)
	}
}

// What goes with the settings of a session's folder need not go with the defaults.
func TestWhereASessionLiesGoesByNameAndOutAlone(t *testing.T) {
	for _, tt := range []struct {
		set, want string // "" for what is taken
	}{
		{"teleop.input=joy", ""},
		{"robot.markers=[front.yaml]", ""},
		{"encoder.onnx=nowhere.onnx", ""},
		{"name=a/b", `name is "a/b"`},
		{"out=", "out is empty"},
		{"robot.tsk=reach", "there is no key robot.tsk; near it: robot.task"},
		{"session.episodes=many", `session.episodes does not take "many"`},
	} {
		c, err := config.Where(write(t, "out: elsewhere\nname: a\n"), []string{"RAPPORT_NAME=stack-001"}, []string{tt.set})
		if tt.want == "" && (err != nil || c.Out != "elsewhere" || c.Name != "stack-001") {
			t.Errorf("%s: %s in %s, %v", tt.set, c.Name, c.Out, err)
		}
		if tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s: %v, want %q", tt.set, err, tt.want)
		}
	}
}

// By what a session is found is read from a file whatever else stands there.
func TestWhereaboutsWantNothingElse(t *testing.T) {
	for _, tt := range []struct{ file, set, want string }{
		{"nosuch: 1\nseed: 1.5\nguard: {workspace: {min: [1]}}\nrobot: {task: stack, kind: [ros]}\nbus: {user: lab, port: 1}", "", ""},
		{"robot: {task: stack}\nbus: {user: lab}\nseed: [", "", "config: "},
		{"robot: {task: stack}\nbus: {user: lab}\nname: [a]", "", "name does not take"},
		{"robot: {task: [stack]}\nbus: {user: lab}", "", "robot.task does not take"},
		{"robot: {task: stack}\nbus: lab", "", "bus does not take"},
		{"robot: {task: stack}\nbus: {user: lab}", "nmae=b", "there is no key nmae"},
		{"robot: {task: stack}\nbus: {user: lab}", "name=a/b", `name is "a/b"`},
	} {
		var sets []string
		if tt.set != "" {
			sets = append(sets, tt.set)
		}
		c, err := config.Whereabouts(write(t, "out: elsewhere\n"+tt.file+"\n"), []string{"RAPPORT_NAME=a", "RAPPORT_NOSUCH=1", "RAPPORT_SEED=x"}, sets)
		if tt.want == "" && (err != nil || c.Out != "elsewhere" || c.Name != "a" || c.Robot.Task != "stack" || c.Bus.User != "lab") {
			t.Errorf("%s: %s of task %s in %s by %s, %v", tt.file, c.Name, c.Robot.Task, c.Out, c.Bus.User, err)
		}
		if tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s: %v, want %q", tt.file, err, tt.want)
		}
	}
}

func TestAWrongKeyIsToldWhichAreNear(t *testing.T) {
	for key, want := range map[string]string{
		"robot.tas":         "near it: robot.task, ",
		"task":              "near it: robot.task",
		"reward.kagi.spars": "near it: reward.kagi.sparse, ",
		"lerner.kind":       "learner.kind",
		"nothing":           "see: rapport config",
	} {
		var c config.Config
		err := c.Set(key, "x")
		if err == nil || !strings.Contains(err.Error(), want) || strings.Count(err.Error(), ", ") > 4 {
			t.Errorf("%s: %v, want %q, and five keys at most", key, err, want)
		}
	}
}

// A file that keeps all of rapport config keeps a task that is named later from its own defaults.
func TestLinesThatPinGeneralDefaultsAreTold(t *testing.T) {
	all := string(config.DefaultYAML())
	for _, tt := range []struct {
		name, file string
		sets       []string
		want       map[string]string // the task's own by key
		none       bool
	}{
		{"all of it, another task", all, []string{"robot.task=stack"}, map[string]string{"policy.axes": `[x, "y", z, grip]`, "learner.clone": "100.0"}, false},
		{"another reward", all, []string{"robot.task=reach", "reward.kind=kagi"}, map[string]string{"policy.keys": "true", "policy.sees": "points", "session.end": "success"}, false},
		{"another world", all, []string{"robot.world=xmagical", "robot.task=sweep"}, map[string]string{"policy.axes": "[x, rz]", "guard.speed": "0.8"}, false},
		{"all of it as it is", all, nil, nil, true},
		{"one line", "robot: {task: stack}\npolicy: {axes: [x, y]}\n", nil, map[string]string{"policy.axes": `[x, "y", z, grip]`}, false},
		{"meant", "robot: {task: stack}\n", []string{"policy.axes=[x, y]"}, nil, true},
		{"its own", "robot: {task: stack}\npolicy: {axes: [x, y, z, grip]}\nseed: 1\n", nil, nil, true},
		{"a learner that others go by", "robot: {task: stack}\nreward: {kind: kagi}\nlearner: {kind: calql}\n", nil, nil, true},
	} {
		file := write(t, tt.file)
		c, err := config.Load(file, nil, tt.sets)
		if err != nil && tt.name != "another world" { // whose cameras are pinned, too
			t.Errorf("%s: %v", tt.name, err)
		}
		got := map[string]string{}
		for _, p := range c.Pinned(file, nil, tt.sets) {
			got[p.Key] = p.Was
		}
		for key, own := range tt.want {
			if got[key] != own {
				t.Errorf("%s: %s is %q, want %q told", tt.name, key, got[key], own)
			}
		}
		if tt.none && len(got) > 0 {
			t.Errorf("%s: told %v", tt.name, got)
		}
	}
}

// A session that begins with what another was fine-tuned to names that, and a learner that goes on
// with a policy as it is.
func TestTunedPoliciesAreOfAnEarlierSession(t *testing.T) {
	for _, tt := range []struct{ sets, want string }{
		{"session.policy=tuned learner.kind=diffusion robot.kind=ros session.from=runs/a", ""},
		{"session.policy=tuned learner.kind=diffusion", "session.from names no session"},
		{"session.policy=tuned session.from=runs/a", "learner.kind is rlpd"},
		{"session.policy=tuned learner.kind=diffusion session.from=runs/a demos.filter=list.csv", "cloned anew"},
		{"session.policy=newest session.from=runs/a", "want one of cloned, tuned"},
	} {
		_, err := config.Load("", nil, strings.Fields(tt.sets))
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s: error %v, want %q", tt.sets, err, tt.want)
		}
	}
}
