//! Decides which notifications a change triggers, renders and delivers them.
