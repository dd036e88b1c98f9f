//! Limits of a run.

use super::{Compiler, Error, codes, keys};
use crate::{
    Budgets,
    document::{
        tree::{Content, Node},
        values::to_millionths,
    },
};

impl Compiler<'_> {
    pub(super) fn budgets(&mut self, node: &Node) -> Budgets {
        let mut budgets = Budgets::default();
        for (key, _, node) in self.known_entries(node, &keys::BUDGETS).unwrap_or_default() {
            let limit = if key == "cost_usd" {
                self.cost(node)
            } else {
                let absent = format!("leave `{key}` out for no limit");
                self.integer(node, key, 0..=u64::MAX, (codes::BUDGET, &absent))
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

    fn cost(&mut self, node: &Node) -> Option<u64> {
        let limit = match &*node.content {
            Content::Scalar { text, .. } => to_millionths(text),
            _ => None,
        };
        if limit.is_none() {
            let message = "`cost_usd` must be an amount in dollars with at most six decimal places";
            self.report(&node.span, Error::new(codes::BUDGET, message).help("write it as `\"2.50\"`"));
        }
        limit
    }
}
