//! Weighing made-up evidence.
