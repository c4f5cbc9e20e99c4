//! What callers may ask for and models may be asked, in a minute and at a time.

pub mod concurrency;
pub mod minute;
pub mod models;
pub mod quota;
pub mod rate;
