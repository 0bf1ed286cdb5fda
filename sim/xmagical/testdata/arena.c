// The arena of this package on Chipmunk in C: a peer of the Go port that it runs
// on. Reads a scene and actions, writes a state for each period, and at the end the
// processor time of the periods in seconds, on lines that begin with =: Debian's Chipmunk greets.
//
//   arena short|medium|long|gripper RUNS < SCENE
//
// SCENE: bottom of the strip; x y angle of the robot; number of squares and x y
// angle of each; number of periods and speed turn fingers of each. Only the first
// run is written.
#include <chipmunk/chipmunk.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MOST = 8, PERIODS = 4096 };
static const double R = 0.2, SIZE = 1.1;

static cpBody *body, *lead, *square[MOST], *finger[2];
static cpConstraint *motor[2];

static void add_square(cpSpace *s, int i, double x, double y, double a) {
	double side = sqrt(M_PI) * 0.6 * R;
	cpBody *b = square[i] = cpBodyNew(0, 0);
	cpBodySetPosition(b, cpv(x, y));
	cpBodySetAngle(b, a);
	cpSpaceAddBody(s, b);
	cpShape *sh = cpBoxShapeNew(b, side, side, 0.01 * side);
	cpShapeSetMass(sh, 0.01);
	cpShapeSetFriction(sh, 0.5);
	cpSpaceAddShape(s, sh);
	cpConstraint *slide = cpPivotJointNew2(cpSpaceGetStaticBody(s), b, cpvzero, cpvzero);
	cpConstraintSetMaxBias(slide, 0);
	cpConstraintSetMaxForce(slide, 1.5);
	cpSpaceAddConstraint(s, slide);
	cpConstraint *spin = cpGearJointNew(cpSpaceGetStaticBody(s), b, 0, 1);
	cpConstraintSetMaxBias(spin, 0);
	cpConstraintSetMaxForce(spin, 0.1);
	cpSpaceAddConstraint(s, spin);
}

static void box(cpVect *v, double w, double h) {
	v[0] = cpv(w / 2, h / 2), v[1] = cpv(-w / 2, h / 2), v[2] = cpv(-w / 2, -h / 2), v[3] = cpv(w / 2, -h / 2);
}

static void finger_parts(cpVect *v, double side) {
	double thick = 0.25 * R, upper = 1.1 * R, fore = 0.7 * R;
	cpVect bend = cpvforangle(side * M_PI / 8);
	cpVect shift = cpvadd(cpvadd(cpv(side * thick / 2, upper / 2), cpvrotate(cpv(-side * thick / 2, fore / 2), bend)), cpv(0, upper / 2));
	box(v, thick, upper);
	box(v + 4, thick, fore);
	for (int i = 0; i < 4; i++) {
		v[i].y += upper / 2;
		v[4 + i] = cpvadd(cpvrotate(v[4 + i], bend), shift);
	}
}

static void add_robot(cpSpace *s, int gripper, double w, cpVect at, double a) {
	double h = R / 2;
	body = cpBodyNew(1, gripper ? cpMomentForCircle(1, 0, R, cpvzero) : cpMomentForBox(1, w, h));
	cpBodySetPosition(body, at);
	cpBodySetAngle(body, a);
	cpSpaceAddBody(s, body);
	cpBody *pupil[2];
	for (int i = 0; i < 2; i++) {
		pupil[i] = cpBodyNew(0.1, cpMomentForCircle(0.1, 0, R, cpvzero));
		cpBodySetAngle(pupil[i], a);
		cpConstraint *c = cpDampedRotarySpringNew(body, pupil[i], 0, 0.1, 3e-3);
		cpConstraintSetMaxBias(c, 3);
		cpConstraintSetMaxForce(c, 0.001);
		cpSpaceAddConstraint(s, c);
	}
	cpVect parts[2][8];
	for (int i = 0; gripper && i < 2; i++) {
		double side = 2 * i - 1, reach = M_PI / 8;
		finger_parts(parts[i], side);
		cpBody *f = finger[i] = cpBodyNew(1.0 / 8, cpMomentForPoly(1.0 / 8, 8, parts[i], cpvzero, 0));
		cpBodySetAngle(f, a - side * reach);
		cpBodySetPosition(f, cpvadd(at, cpvrotate(cpv(side * R * 0.45, R * 0.1), cpvforangle(a))));
		cpSpaceAddBody(s, f);
		cpConstraint *c = cpPivotJointNew(body, f, cpBodyGetPosition(f));
		cpConstraintSetErrorBias(c, 0);
		cpSpaceAddConstraint(s, c);
		c = cpRotaryLimitJointNew(body, f, side < 0 ? 0 : -reach, side < 0 ? reach : 0);
		cpConstraintSetErrorBias(c, 0);
		cpSpaceAddConstraint(s, c);
		c = motor[i] = cpSimpleMotorNew(body, f, 0);
		cpConstraintSetMaxBias(c, 0);
		cpConstraintSetMaxForce(c, 4);
		cpSpaceAddConstraint(s, c);
	}
	for (int i = 0; i < 2; i++)
		cpSpaceAddBody(s, pupil[i]);
	lead = cpBodyNewKinematic();
	cpBodySetPosition(lead, at);
	cpBodySetAngle(lead, a);
	cpSpaceAddBody(s, lead);
	cpConstraint *pull = cpPivotJointNew2(lead, body, cpvzero, cpvzero);
	cpConstraintSetMaxBias(pull, 0);
	cpConstraintSetMaxForce(pull, 5);
	cpSpaceAddConstraint(s, pull);
	cpConstraint *steer = cpGearJointNew(lead, body, 0, 1);
	cpConstraintSetErrorBias(steer, 0);
	cpConstraintSetMaxBias(steer, 2.5);
	cpConstraintSetMaxForce(steer, 1);
	cpSpaceAddConstraint(s, steer);
	cpShapeFilter own = cpShapeFilterNew(1, CP_ALL_CATEGORIES, CP_ALL_CATEGORIES);
	cpVect stick[4] = {{-w / 2, h / 2}, {w / 2, h / 2}, {w / 2, -h / 2}, {-w / 2, -h / 2}};
	cpShape *sh = gripper ? cpCircleShapeNew(body, R, cpvzero) : cpPolyShapeNew(body, 4, stick, cpTransformIdentity, 0);
	cpShapeSetFilter(sh, own);
	cpShapeSetFriction(sh, 0.5);
	cpSpaceAddShape(s, sh);
	for (int i = 0; gripper && i < 4; i++) {
		sh = cpPolyShapeNew(finger[i / 2], 4, parts[i / 2] + i % 2 * 4, cpTransformIdentity, 0);
		cpShapeSetFilter(sh, own);
		cpShapeSetFriction(sh, 5);
		cpSpaceAddShape(s, sh);
	}
}

static double clip(double x, double lo, double hi) { return x < lo ? lo : x > hi ? hi : x; }

static void period(cpSpace *s, int gripper, double speed, double turn, double fingers) {
	for (int k = 0; k < 10; k++) {
		double a = cpBodyGetAngle(body);
		cpBodySetAngle(lead, a + clip(turn, -1.5, 1.5));
		speed = clip(speed, -4 * R, 4 * R);
		cpBodySetVelocity(lead, cpv(-speed * sin(a), speed * cos(a)));
		for (int i = 0; gripper && i < 2; i++) {
			double rate = clip(10 * (cpBodyGetAngle(finger[i]) - a + (2 * i - 1) * clip(fingers, 0, M_PI / 8)), -1, 1);
			cpSimpleMotorSetRate(motor[i], fabs(rate) < 1e-4 ? 0 : rate);
		}
		cpSpaceStep(s, 0.0125);
	}
}

static double number(void) {
	double x;
	if (scanf("%lf", &x) != 1) {
		fprintf(stderr, "arena: the scene ends too soon\n");
		exit(1);
	}
	return x;
}

static void tell(cpBody *b) { printf("%.17g %.17g %.17g ", cpBodyGetPosition(b).x, cpBodyGetPosition(b).y, cpBodyGetAngle(b)); }

static double cpu(void) {
	struct timespec t;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return t.tv_sec + 1e-9 * t.tv_nsec;
}

int main(int argc, char **argv) {
	int runs = argc > 2 ? atoi(argv[2]) : 1, gripper = argc > 1 && !strcmp(argv[1], "gripper");
	double w = argc < 2 ? 0 : !strcmp(argv[1], "short") ? 1.5 * R : !strcmp(argv[1], "medium") ? 3 * R : 8 * R;
	double bottom = number(), rx = number(), ry = number(), ra = number();
	int n = number();
	double sq[MOST][3], act[PERIODS][3], took = 0;
	for (int i = 0; i < n && i < MOST; i++)
		for (int k = 0; k < 3; k++)
			sq[i][k] = number();
	int T = number();
	for (int t = 0; t < T && t < PERIODS; t++)
		for (int k = 0; k < 3; k++)
			act[t][k] = number();
	for (int run = 0; run < runs; run++) {
		cpSpace *s = cpSpaceNew();
		cpSpaceSetCollisionSlop(s, 0.01);
		cpSpaceSetIterations(s, 10);
		cpBody *walls = cpBodyNewStatic(), *goal = cpBodyNewStatic();
		cpVect at[4] = {{-SIZE - 1, SIZE + 1}, {SIZE + 1, SIZE + 1}, {SIZE + 1, -SIZE - 1}, {-SIZE - 1, -SIZE - 1}};
		for (int i = 0; i < 4; i++) {
			cpShape *sh = cpSegmentShapeNew(walls, at[i], at[(i + 1) % 4], 1);
			cpShapeSetFriction(sh, 0.8);
			cpSpaceAddShape(s, sh);
		}
		cpShape *sensor = cpBoxShapeNew(goal, 2.4, 1.16 - bottom, 0);
		cpShapeSetSensor(sensor, 1);
		cpBodySetPosition(goal, cpv(0, (1.16 + bottom) / 2));
		cpSpaceAddBody(s, goal);
		cpSpaceAddShape(s, sensor);
		for (int i = 0; i < n; i++)
			add_square(s, i, sq[i][0], sq[i][1], sq[i][2]);
		add_robot(s, gripper, w, cpv(rx, ry), ra);
		double began = cpu();
		for (int t = 0; t < T; t++) {
			period(s, gripper, act[t][0], act[t][1], act[t][2]);
			if (run > 0)
				continue;
			printf("= ");
			tell(body);
			for (int i = 0; i < n; i++)
				tell(square[i]);
			printf("\n");
		}
		took += cpu() - began;
		cpSpaceFree(s); // bodies and shapes go with the process
	}
	printf("= %.9g\n", took);
	return 0;
}
