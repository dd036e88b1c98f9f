//! A policy's document.

use std::fmt::Write as _;

use vantio_core::{Access, Section};

use super::{
    Policy,
    guards::{Guards, Scope},
};

const KEYS: [(&str, &[Section]); 5] = [
    ("fs", &[Section::FsRead, Section::FsWrite, Section::FsDeny]),
    ("exec", &[Section::ExecAllow, Section::ExecDeny]),
    ("net", &[Section::NetAllow, Section::NetDeny]),
    ("tools", &[Section::ToolsAllow, Section::ToolsDeny]),
    ("infer", &[Section::InferModels]),
];

impl Policy {
    /// The document, in flow style.
    pub fn document(&self) -> String {
        let mut document = format!("version: 1\nmode: {}\n", self.mode);
        for (key, sections) in KEYS {
            let lists = sections.iter().filter_map(|section| self.list(*section)).collect::<Vec<_>>();
            if !lists.is_empty() {
                writeln!(document, "{key}: {{{}}}", lists.join(", ")).unwrap();
            }
        }
        document.push_str(&self.guards.document());
        document
    }

    fn list(&self, section: Section) -> Option<String> {
        let own = self.rules.iter().filter(|(own, _)| *own == section);
        let texts: Vec<&str> = own.map(|(_, text)| text.as_str()).collect();
        let (_, name) = section.name().split_once('.').unwrap();
        (!texts.is_empty()).then(|| format!("{name}: {}", list(&texts)))
    }
}

impl Guards {
    fn document(&self) -> String {
        let mut document = String::new();
        let mut line = |key: &str, value: String| writeln!(document, "{key}: {value}").unwrap();
        let mut taint = Vec::new();
        if !self.sources.is_empty() {
            let sources = self.sources.iter().map(|label| format!("{{label: {label}, fs: [/source]}}"));
            taint.push(format!("sources: [{}]", sources.collect::<Vec<_>>().join(", ")));
        }
        if !self.sinks.is_empty() {
            let sinks = self.sinks.iter().map(|sink| {
                let label = sink.label.map(|label| format!("label: {label}, ")).unwrap_or_default();
                format!("{{{label}{}: {}}}", sink.key, list(&sink.targets))
            });
            taint.push(format!("sinks: [{}]", sinks.collect::<Vec<_>>().join(", ")));
        }
        if !taint.is_empty() {
            line("taint", format!("{{{}}}", taint.join(", ")));
        }
        if !self.order.is_empty() {
            let rules = self.order.iter().map(|rule| {
                let exit = rule.exit.map(|exit| format!(", exit: {exit}")).unwrap_or_default();
                let (refuse, after, since) =
                    (rule.refuse.keys(), rule.unless_after.keys(), rule.since.keys());
                format!("{{refuse: {{{refuse}}}, unless_after: {{{after}{exit}}}, since: {{{since}}}}}")
            });
            line("order", format!("[{}]", rules.collect::<Vec<_>>().join(", ")));
        }
        if !self.thresholds.is_empty() {
            let rules = self.thresholds.iter().map(|rule| {
                let then = if rule.holds { "hold" } else { "collapse" };
                let (scope, measure, limit, within) =
                    (rule.scope.keys(), rule.measure, rule.limit, rule.within_ms);
                format!("{{{scope}, {measure}: {limit}, within: {within}ms, then: {then}}}")
            });
            line("thresholds", format!("[{}]", rules.collect::<Vec<_>>().join(", ")));
        }
        if !self.hold.is_empty() {
            let rules = self.hold.iter().map(|scope| format!("{{{}}}", scope.keys()));
            line("hold", format!("[{}]", rules.collect::<Vec<_>>().join(", ")));
        }
        if !self.budgets.is_empty() {
            let limits = self.budgets.iter().map(|(name, limit)| format!("{name}: {limit}"));
            line("budgets", format!("{{{}}}", limits.collect::<Vec<_>>().join(", ")));
        }
        if self.kill_switch {
            line("kill_switch", "true".to_owned());
        }
        if !self.reversibility.is_empty() {
            let entries = self.reversibility.iter().map(|(effect, value)| format!("{effect}: {value}"));
            line("reversibility", format!("{{{}}}", entries.collect::<Vec<_>>().join(", ")));
        }
        document
    }
}

impl Scope {
    /// The keys of a mapping that has a scope.
    fn keys(&self) -> String {
        let effects: Vec<&str> = self.effects.iter().map(|effect| effect.name()).collect();
        let mut keys = format!("effect: [{}]", effects.join(", "));
        match self.access {
            Some(Access::Read) => keys.push_str(", access: read"),
            Some(Access::Write) => keys.push_str(", access: write"),
            None => {}
        }
        if !self.targets.is_empty() {
            write!(keys, ", target: {}", list(&self.targets)).unwrap();
        }
        keys
    }
}

/// Texts as a YAML list, each of which stands for nothing but itself.
fn list<T: AsRef<str>>(texts: &[T]) -> String {
    let quoted = texts.iter().map(|text| format!("'{}'", text.as_ref().replace('\'', "''")));
    format!("[{}]", quoted.collect::<Vec<_>>().join(", "))
}
