//! Whole-program tests, linked once.

mod source;
