pub mod bed;
pub mod inside;
