//! Any text where a number, an amount, a choice, a name or a variable belongs is one or
//! an error.

#![no_main]

use libfuzzer_sys::fuzz_target;
use vantio_fuzz::quoted;
use vantio_policy::{PolicyProgram, compile};

const PLACES: [&str; 17] = [
    "name: @",
    "mode: @",
    "budgets: {tokens: @}",
    "budgets: {cost_usd: @}",
    "phantom: {commit: @}",
    "env: {allow: [@]}",
    "env: {deny: [@]}",
    "env: {set: {A: @}}",
    "thresholds: [{effect: fs.unlink, count: 1, within: @}]",
    "thresholds: [{effect: fs.unlink, bytes: @, within: 1s}]",
    "thresholds: [{effect: @, count: 1, within: 1s}]",
    "hold: [{effect: fs.unlink, timeout: @, approvers: [@]}]",
    "kill_switch: {active: true, quorum: @, window: 1s}",
    "require: @",
    "reversibility: {net.connect: @}",
    "taint: {sources: [{label: @, fs: [/a]}]}",
    "infer: {max_tokens: @}",
];

fuzz_target!(|text: &str| {
    for place in PLACES {
        for text in [text, &quoted(text)] {
            let document = format!("version: 1\n{}\n", place.replace('@', text));
            if let Ok(compiled) = compile(document.as_bytes(), "policy.yaml") {
                assert_eq!(PolicyProgram::decode(&compiled.program.encode()), Ok(compiled.program));
            }
        }
    }
});
