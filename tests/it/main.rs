//! Whole-program tests, linked once.

mod bad_input;
mod check;
mod collections;
mod crash;
mod docs;
mod faults;
mod recipes;
mod rules;
mod samples;
mod source;
mod world;
