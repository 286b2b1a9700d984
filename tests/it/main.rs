//! Whole-program tests, linked once.

mod bad_input;
mod crash;
mod faults;
mod rules;
mod source;
mod world;
