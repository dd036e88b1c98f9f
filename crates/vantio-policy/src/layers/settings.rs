//! What is no list: name, mode, commits and limits of several layers.

use std::collections::BTreeMap;

use super::{Layer, base};
use crate::{
    Budgets, Checkpointing, CommitMode, Details, Export, Limits, Mode, PolicyProgram, Speculation, Viewing,
    algebra::{caution, reticence, strictness},
};

/// Values, and the layer that each is from, by dotted key.
pub(super) struct Settings {
    pub(super) name: Option<String>,
    pub(super) mode: Mode,
    pub(super) commit_mode: CommitMode,
    pub(super) viewing: Viewing,
    pub(super) details: Details,
    pub(super) export: Export,
    pub(super) checkpointing: Checkpointing,
    pub(super) speculation: Speculation,
    pub(super) budgets: Budgets,
    pub(super) limits: Limits,
    pub(super) max_tokens: Option<u64>,
    pub(super) origins: BTreeMap<String, usize>,
}

pub(super) fn merge(layers: &[&Layer]) -> Settings {
    let mut origins = BTreeMap::new();
    let name = layers.iter().position(|layer| program(layer).name().is_some());
    origins.extend(name.map(|index| ("name".to_owned(), index)));
    let mut limit = |key: &str, of: &dyn Fn(&PolicyProgram) -> Option<u64>| {
        let limits = layers.iter().enumerate();
        let limits = limits.filter_map(|(index, layer)| of(program(layer)).map(|limit| (limit, index)));
        let (limit, index) = limits.min()?;
        origins.insert(key.to_owned(), index);
        Some(limit)
    };
    let mut budgets = [None; Budgets::NAMES.len()];
    for (index, (budget, name)) in budgets.iter_mut().zip(Budgets::NAMES).enumerate() {
        let name = if name == "cost_micro_usd" { "cost_usd" } else { name };
        *budget = limit(&format!("budgets.{name}"), &|program| program.budgets().values()[index]);
    }
    limit("phantom.checkpoint.writes", &|program| program.checkpointing().writes);
    let mut limits = [None; Limits::NAMES.len()];
    for (index, (value, name)) in limits.iter_mut().zip(Limits::NAMES).enumerate() {
        *value = limit(&format!("limits.{name}"), &|program| program.limits().values()[index]);
    }
    // Who limits something without a word says that it must hold.
    let mut limiting = layers.iter().map(|layer| program(layer).limits()).filter(|limits| !limits.is_empty());
    let best_effort = limiting.all(|limits| limits.best_effort);
    let max_tokens = limit("infer.max_tokens", &|program| program.parts.max_tokens);
    // A layer that says nothing enforces its own rules; one below the base has nothing to say
    // about the rules of others.
    let base = base(layers);
    let mode = strictest(layers, |layer, index| {
        let speaks = index <= base || layer.compiled.present.has("mode");
        speaks.then(|| strictness(program(layer).mode()))
    });
    let commit = strictest(layers, |layer, index| {
        let speaks = index == base || layer.compiled.present.has("phantom.commit");
        speaks.then(|| caution(program(layer).commit_mode()))
    });
    // Where one layer has the run wait, it waits; one that says nothing has nothing against it.
    let speculation = strictest(layers, |layer, _| {
        let speaks = layer.compiled.present.has("phantom.speculate");
        speaks.then(|| u8::from(program(layer).speculation() == Speculation::Off))
    });
    let [details, export] = ["ledger.details", "ledger.export"].map(|key| {
        let found = strictest(layers, |layer, index| {
            let speaks = index == base || layer.compiled.present.has(key);
            speaks.then(|| reticence(program(layer), key))
        });
        origins.extend(found.map(|index| (key.to_owned(), index)));
        found.map(|index| program(layers[index]))
    });
    origins.extend(mode.map(|index| ("mode".to_owned(), index)));
    origins.extend(commit.map(|index| ("phantom.commit".to_owned(), index)));
    origins.extend(speculation.map(|index| ("phantom.speculate".to_owned(), index)));
    // Who sees nothing of what comes later sees less.
    let freezing = layers.iter().position(|layer| program(layer).viewing() == Viewing::Snapshot);
    origins.extend(freezing.map(|index| ("phantom.view".to_owned(), index)));
    let mut asking = |key: &str, asks: &dyn Fn(Checkpointing) -> bool| {
        let found = layers.iter().position(|layer| asks(program(layer).checkpointing()));
        origins.extend(found.map(|index| (key.to_owned(), index)));
    };
    asking("phantom.checkpoint.exec", &|checkpointing| checkpointing.exec);
    asking("phantom.checkpoint.approval", &|checkpointing| checkpointing.approval);
    let require =
        strictest(layers, |layer, _| program(layer).required_backend().map(|backend| backend as u8));
    origins.extend(require.map(|index| ("require".to_owned(), index)));
    let killed = layers.iter().position(|layer| program(layer).is_kill_switch_set());
    origins.extend(killed.map(|index| ("kill_switch".to_owned(), index)));
    Settings {
        name: name.and_then(|index| program(layers[index]).name()).map(str::to_owned),
        mode: mode.map_or_else(Mode::default, |index| program(layers[index]).mode()),
        commit_mode: commit.map_or_else(CommitMode::default, |index| program(layers[index]).commit_mode()),
        viewing: freezing.map_or_else(Viewing::default, |_| Viewing::Snapshot),
        details: details.map_or_else(Details::default, PolicyProgram::details),
        export: export.map_or_else(Export::default, PolicyProgram::export),
        speculation: speculation
            .map_or_else(Speculation::default, |index| program(layers[index]).speculation()),
        // A checkpoint takes nothing from anybody: every layer may ask for more of them.
        checkpointing: layers
            .iter()
            .fold(Checkpointing::default(), |all, layer| all.and(program(layer).checkpointing())),
        budgets: Budgets::from_values(budgets),
        limits: Limits::from_values(limits, best_effort),
        max_tokens,
        origins,
    }
}

/// The highest of the layers with the greatest rank.
fn strictest(layers: &[&Layer], rank: impl Fn(&Layer, usize) -> Option<u8>) -> Option<usize> {
    let ranks = layers.iter().enumerate();
    let ranks = ranks.filter_map(|(index, layer)| rank(layer, index).map(|rank| (rank, usize::MAX - index)));
    ranks.max().map(|(_, reversed)| usize::MAX - reversed)
}

fn program(layer: &Layer) -> &PolicyProgram {
    &layer.compiled.program
}
