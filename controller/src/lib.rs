//! The shell: watches, caches, leader election, views, execution, metrics, configuration, wiring.
