//! What works on two databases at once, stopped before each of its calls: what others do meanwhile,
//! and what is left if the process is killed.

mod process;

mod moving;

mod meanwhile;

mod both_stores;

mod refused;

mod copying;
