//! Whole-program tests, linked once.

mod rules;
mod source;
mod world;
