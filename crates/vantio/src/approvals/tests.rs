//! The table of questions against a model.
