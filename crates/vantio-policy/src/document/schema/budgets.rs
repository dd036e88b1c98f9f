//! Limits of a run.

use super::{Compiler, Error};
use crate::{
    Budgets,
    document::{
        tree::{Content, Node},
        values::{Kind, to_millionths, to_u64},
    },
};

const BUDGET_KEYS: &[&str] =
    &["tokens", "calls", "inference_ms", "file_bytes", "network_bytes", "wall_ms", "processes", "cost_usd"];

impl Compiler<'_> {
    pub(super) fn budgets(&mut self, node: &Node) -> Budgets {
        let mut budgets = Budgets::default();
        for (key, _, node) in self.known_entries(node, "`budgets`", BUDGET_KEYS).unwrap_or_default() {
            let limit = match key {
                "cost_usd" => self.cost(node),
                _ => self.integer(node, key),
            };
            *match key {
                "tokens" => &mut budgets.tokens,
                "calls" => &mut budgets.calls,
                "inference_ms" => &mut budgets.inference_ms,
                "file_bytes" => &mut budgets.file_bytes,
                "network_bytes" => &mut budgets.network_bytes,
                "wall_ms" => &mut budgets.wall_ms,
                "processes" => &mut budgets.processes,
                _ => &mut budgets.cost_micro_usd,
            } = limit;
        }
        budgets
    }

    fn integer(&mut self, node: &Node, key: &str) -> Option<u64> {
        let Content::Scalar { text, is_plain } = &*node.content else {
            self.report(&node.span, Error::new("E_POLICY_BUDGET", format!("`{key}` is a whole number")));
            return None;
        };
        let kind = Kind::of(text, *is_plain);
        let limit = if kind == Kind::Integer { to_u64(text) } else { None };
        if limit.is_none() {
            let message = format!("`{key}` is a whole number from 0 to {}", u64::MAX);
            let help = match kind {
                Kind::String if to_u64(text).is_some() => "remove the quotes".to_owned(),
                _ => format!("leave `{key}` out for no limit"),
            };
            self.report(&node.span, Error::new("E_POLICY_BUDGET", message).help(help));
        }
        limit
    }

    fn cost(&mut self, node: &Node) -> Option<u64> {
        let limit = match &*node.content {
            Content::Scalar { text, .. } => to_millionths(text),
            _ => None,
        };
        if limit.is_none() {
            let message = "`cost_usd` is an amount in dollars with at most six decimal places";
            self.report(&node.span, Error::new("E_POLICY_BUDGET", message).help("write it as `\"2.50\"`"));
        }
        limit
    }
}
