//! Sockets, names and datagrams of a run.
