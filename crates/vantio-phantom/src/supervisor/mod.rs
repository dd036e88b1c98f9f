//! Answers the agent's system calls.

pub(crate) mod request;
