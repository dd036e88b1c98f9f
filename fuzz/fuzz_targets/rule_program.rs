//! Any text is a rule for programs or an error; a rule has one canonical text.

#![no_main]

use libfuzzer_sys::fuzz_target;
use vantio_core::Section;
use vantio_fuzz::read_rule;

fuzz_target!(|text: &str| {
    read_rule(Section::ExecAllow, text);
});
