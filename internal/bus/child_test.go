package bus_test

func child(string) error { return nil }
