//! Takes one sample from one metric provider; judging is the engine's.
