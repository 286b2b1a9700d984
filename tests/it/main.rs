//! Whole-program tests, linked once.

mod rules;
mod samples;
mod source;
mod world;
