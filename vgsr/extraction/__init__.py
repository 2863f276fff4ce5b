"""Running a network or a measurement over a whole corpus on a pool of Ray actors, part by part."""
