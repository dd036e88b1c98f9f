//! The world a run lives in: its root, its devices, its network.

pub(crate) mod devices;
pub(crate) mod layers;
pub(crate) mod mounts;
pub(crate) mod network;
pub(crate) mod plan;
pub(crate) mod root;
