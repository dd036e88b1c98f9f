//! Any text where a number, an amount, a choice, a name or a variable belongs is one or
//! an error.

#![no_main]

use libfuzzer_sys::fuzz_target;
use vantio_fuzz::quoted;
use vantio_policy::{PolicyProgram, compile};

const PLACES: [&str; 8] = [
    "name: @",
    "mode: @",
    "budgets: {tokens: @}",
    "budgets: {cost_usd: @}",
    "phantom: {commit: @}",
    "env: {allow: [@]}",
    "env: {deny: [@]}",
    "env: {set: {A: @}}",
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
