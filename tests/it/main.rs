//! Whole-program tests, linked once.

mod bad_input;
mod check;
mod collections;
mod crash;
mod delta;
mod docs;
mod explain;
mod faults;
mod jsm;
mod lookup;
mod odata;
mod push_down;
mod recipes;
mod recording;
mod rules;
mod samples;
mod sign_in;
mod source;
mod tls;
mod world;
