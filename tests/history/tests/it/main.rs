//! The judge is judged: good histories pass, and each kind of violation is refused by its name.

mod bad;
mod good;
mod mutated;
mod story;
mod world;
