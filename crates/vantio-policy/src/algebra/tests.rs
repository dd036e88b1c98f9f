//! Containment against what the matchers say of every target over a small alphabet.

use alloc::{format, string::String, vec};
use core::net::{IpAddr, SocketAddr};

use proptest::{prelude::*, sample::select};
use vantio_core::{Effect, Endpoint, Intent, Section, Target, Transport};

use super::*;
use crate::{
    Budgets, PolicyProgram, Rule, State, judge,
    named::NamedPattern,
    names,
    program::Parts,
    rule::{LISTS, Rules},
};

const NAMES: [&[u8]; 7] = [b"a", b"b", b"ab", b"aab", b".a", "é".as_bytes(), b"a\xff"];
const COMPONENTS: [&str; 12] = ["a", "b", "ab", "*", "?", "a*", "*b", "[ab]", "[!a]", "?*", "*a*b", "é"];
const ANCHORS: [&str; 4] = ["/", "${workspace}/", "~/", "**/"];

fn bindings() -> Bindings {
    Bindings { workspace: b"/a".to_vec(), home: b"/b".to_vec(), tmp: b"/tmp".to_vec(), ..Bindings::default() }
}

/// Every path of at most three names.
fn paths() -> Vec<Vec<u8>> {
    let mut all = vec![b"/".to_vec()];
    let mut longest = vec![Vec::new()];
    for _ in 0..3 {
        let longer = |path: &Vec<u8>| NAMES.map(|name| [path.as_slice(), b"/", name].concat());
        longest = longest.iter().flat_map(longer).collect();
        all.extend_from_slice(&longest);
    }
    all
}

fn path_pattern() -> impl Strategy<Value = PathPattern> {
    let component = prop_oneof![4 => select(&COMPONENTS[..]).prop_map(String::from), 1 => Just("**".into())];
    (select(&ANCHORS[..]), prop::collection::vec(component, 0..4)).prop_map(|(anchor, components)| {
        let text = format!("{anchor}{}", components.join("/"));
        PathPattern::parse(&text).unwrap()
    })
}

fn covered(pattern: &PathPattern, sense: Sense, path: &CanonicalPath<'_>) -> bool {
    let kind = if sense == Sense::Deny { Kind::Deny } else { Kind::Allow };
    pattern.matchers(&bindings(), kind).iter().any(|matcher| match sense {
        Sense::Listing => matcher.covers_or_lists(path),
        _ => matcher.covers(path),
    })
}

fn sense() -> impl Strategy<Value = Sense> {
    select(&[Sense::Allow, Sense::Listing, Sense::Deny][..])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_path_pattern_that_is_covered_has_no_path_of_its_own(
        outer in path_pattern(), outer_sense in sense(), inner in path_pattern(), inner_sense in sense(),
    ) {
        if super::paths::covers(&outer, outer_sense, &inner, inner_sense) {
            for path in paths() {
                let path = CanonicalPath::new(&path).unwrap();
                prop_assert!(
                    covered(&outer, outer_sense, &path) || !covered(&inner, inner_sense, &path),
                    "{} {outer_sense:?} and {} {inner_sense:?} at {}",
                    outer.canonical(), inner.canonical(), String::from_utf8_lossy(path.bytes),
                );
                let below = |pattern: &PathPattern| {
                    let matchers = pattern.matchers(&bindings(), Kind::Allow);
                    matchers.iter().any(|matcher| matcher.covers_subtree(&path))
                };
                if (outer_sense, inner_sense) == (Sense::Allow, Sense::Allow) {
                    prop_assert!(below(&outer) || !below(&inner));
                }
            }
        }
    }

    #[test]
    fn a_name_that_is_covered_has_no_text_of_its_own(outer in "[ab*]{1,5}", inner in "[ab*]{1,5}") {
        let (Ok(outer), Ok(inner)) = (NamedPattern::parse(&outer), NamedPattern::parse(&inner)) else {
            return Ok(());
        };
        let is_covered = sequence::text_covers(&outer.0, &inner.0);
        let mut texts = vec![String::new()];
        for _ in 0..6 {
            let longer = texts.iter().flat_map(|text| ["a", "b", "c"].map(|next| format!("{text}{next}")));
            texts.extend(longer.collect::<Vec<_>>());
            texts.sort_unstable();
            texts.dedup();
        }
        let is_within = texts.iter().all(|text| outer.matches(text) || !inner.matches(text));
        prop_assert!(!is_covered || is_within, "{} {}", outer.0, inner.0);
        // Texts of six characters tell any two of these apart but those that need longer ones.
        prop_assert!(is_covered || !is_within || inner.0.len() + outer.0.len() > 6, "{} {}", outer.0, inner.0);
    }

    #[test]
    fn a_network_pattern_that_is_covered_has_no_target_of_its_own(
        outer in network(), inner in network(), is_deny in any::<bool>(),
    ) {
        let section = if is_deny { Section::NetDeny } else { Section::NetAllow };
        let [outer, inner] = [outer, inner].map(|text| Rule::parse(section, &text, names::lower_ascii));
        let (Ok(outer), Ok(inner)) = (outer, inner) else { return Ok(()) };
        let sense = if is_deny { Sense::Deny } else { Sense::Allow };
        let here = bindings();
        if !list_covers(&[(&outer.pattern, sense)], (&inner.pattern, sense), &here) {
            return Ok(());
        }
        let [outer, inner] = [(outer, section), (inner, section)].map(|(rule, section)| judge_of(rule, section));
        for intent in network_intents() {
            let [by_outer, by_inner] = [&outer, &inner]
                .map(|(program, state)| judge(program, state, &intent).is_permit() != is_deny);
            prop_assert!(by_outer || !by_inner, "{intent:?}");
        }
    }
}

const HOSTS: [&str; 14] = [
    "*",
    "a.example",
    "*.a.example",
    "b.a.example",
    "*.b.a.example",
    "8.8.0.0/16",
    "8.8.8.8",
    "10.0.0.0/8",
    "10.1.0.0/16",
    "0.0.0.0/1",
    "[2606::/16]",
    "[::1]",
    "unix:/run/**",
    "unix:/run/x",
];
const PORTS: [&str; 5] = ["", ":*", ":443", ":1-442", ":22,80,443"];

fn network() -> impl Strategy<Value = String> {
    (select(&HOSTS[..]), select(&PORTS[..]), any::<bool>()).prop_map(|(host, ports, is_udp)| {
        let scheme = if is_udp { "udp://" } else { "" };
        if host.starts_with("unix:") { String::from(host) } else { format!("{scheme}{host}{ports}") }
    })
}

/// A program in which only this rule speaks of the network; with a deny all else is open.
fn judge_of(rule: Rule, section: Section) -> (PolicyProgram, State) {
    let mut lists: [Vec<Rule>; LISTS] = Default::default();
    if section == Section::NetDeny {
        let all =
            ["*:*", "udp://*:*", "0.0.0.0/0:*", "udp://0.0.0.0/0:*", "[::/0]:*", "udp://[::/0]:*", "unix:/"];
        let all = all.map(|text| Rule::parse(Section::NetAllow, text, names::lower_ascii).unwrap());
        lists[Section::NetAllow as usize].extend(all);
    }
    lists[section as usize].push(rule);
    let parts = Parts { budgets: Budgets::default(), rules: Rules::new(lists), ..Parts::default() };
    let program = PolicyProgram::new(parts);
    let mut state = State::new(&program, bindings());
    for (name, address) in NAMED {
        state.learn_name(name, address.parse().unwrap(), u64::MAX);
    }
    (program, state)
}

const NAMED: [(&str, &str); 5] = [
    ("a.example", "8.8.8.8"),
    ("b.a.example", "8.8.4.4"),
    ("c.b.a.example", "2606::1"),
    ("b.a.example", "10.1.2.3"),
    ("other.example", "1.1.1.1"),
];

fn network_intents() -> Vec<Intent<'static>> {
    let mut intents = vec![
        Intent::new(Effect::NetConnect, Target::Unix(b"/run/x")),
        Intent::new(Effect::NetConnect, Target::Unix(b"/run/y/z")),
        Intent::new(Effect::NetConnect, Target::Unix(b"/other")),
    ];
    for name in ["a.example", "b.a.example", "c.b.a.example", "other.example"] {
        intents.push(Intent::new(Effect::NetDns, Target::Name(name)));
    }
    let addresses =
        ["8.8.8.8", "8.8.4.4", "2606::1", "10.1.2.3", "10.2.0.1", "1.1.1.1", "127.0.0.1", "::1", "9.9.9.9"];
    for address in addresses {
        let address: IpAddr = address.parse().unwrap();
        for port in [22, 80, 443, 8080] {
            for transport in [Transport::Tcp, Transport::Udp] {
                let address = SocketAddr::new(address, port);
                let endpoint = Endpoint { transport, address, in_run: false };
                intents.push(Intent::new(Effect::NetConnect, Target::Endpoint(endpoint)));
            }
        }
    }
    intents
}

fn list_covers(outer: &[Element<'_>], inner: Element<'_>, bindings: &Bindings) -> bool {
    Cover::new(outer.iter().copied(), bindings).covers(inner)
}

fn pattern(section: Section, text: &str) -> Pattern {
    Rule::parse(section, text, names::lower_ascii).unwrap().pattern
}

#[test]
fn what_documents_have_is_told() {
    let allow = |section, outer: &str, inner: &str| {
        covers(&pattern(section, outer), Sense::Allow, &pattern(section, inner), Sense::Allow)
    };
    for (outer, inner) in [
        ("/", "${workspace}/src"),
        ("/", "**/*.rs"),
        ("/usr", "/usr/bin/git"),
        ("/usr/**", "/usr/lib/**"),
        ("/usr", "/usr/*/x"),
        ("${workspace}", "${workspace}/**"),
        ("${workspace}/**", "${workspace}/src"),
        ("**/.env", "${workspace}/.env"),
        ("**/.env", "~/**/.env"),
        ("**/src/**", "${workspace}/src/lib/**"),
        ("**/src/**/*.rs", "/w/src/x/*.rs"),
        ("~/.config/*/x", "~/.config/[ab]/x"),
        ("/a/*.rs", "/a/lib*.rs"),
        ("/a/?*", "/a/[a-z]b*"),
    ] {
        assert!(allow(Section::FsRead, outer, inner), "{outer} {inner}");
    }
    for (outer, inner) in [
        ("/usr/**", "/usr"),
        ("/usr/bin", "/usr"),
        ("/usr/*", "/usr/x/y"),
        // A rule without wildcard also covers what may come to lie below it.
        ("**/*.rs", "/w/src/a.rs"),
        ("${workspace}", "~/x"),
        ("${workspace}", "/w"),
        ("/w", "${workspace}"),
        ("**/.env", "${workspace}/**"),
        ("/a/[a-c]", "/a/?"),
    ] {
        assert!(!allow(Section::FsRead, outer, inner), "{outer} {inner}");
    }
    for (outer, inner) in [
        ("*:*", "*.example.com:22"),
        ("*.example.com:1-1000", "a.b.example.com:22,443"),
        ("10.0.0.0/8:*", "10.1.0.0/16:5432"),
        ("github.com", "github.com:443"),
        ("unix:/run/**", "unix:/run/x"),
    ] {
        assert!(allow(Section::NetAllow, outer, inner), "{outer} {inner}");
    }
    for (outer, inner) in [
        ("*:*", "127.0.0.1:8080"),
        ("example.com", "www.example.com"),
        ("*.example.com", "example.com"),
        ("github.com:443", "github.com"),
        ("*:*", "udp://*:*"),
        ("*:*", "unix:/run/x"),
    ] {
        assert!(!allow(Section::NetAllow, outer, inner), "{outer} {inner}");
    }
    assert!(allow(Section::ToolsAllow, "github/*", "github/issues_*"));
    assert!(!allow(Section::ToolsAllow, "github/*", "*"));
    assert!(allow(Section::ExecAllow, "git", "git") && !allow(Section::ExecAllow, "/usr/bin", "git"));
}

#[test]
fn a_host_tells_where_names_and_links_lead() {
    let mut here = bindings();
    here.aliases = vec![(b"/a/link".to_vec(), b"/etc".to_vec()), (b"/bin".to_vec(), b"/usr/bin".to_vec())];
    here.programs = vec![("git".into(), vec![b"/usr/bin/git".to_vec()]), ("none".into(), Vec::new())];
    let covered = |section, outer: &[&str], inner: &str| {
        let outer: Vec<Pattern> = outer.iter().map(|text| pattern(section, text)).collect();
        let outer: Vec<Element> = outer.iter().map(|pattern| (pattern, Sense::Allow)).collect();
        list_covers(&outer, (&pattern(section, inner), Sense::Allow), &here)
    };
    assert!(covered(Section::FsWrite, &["/a"], "${workspace}/src"));
    assert!(covered(Section::FsWrite, &["${workspace}"], "/a/src"));
    // A link in the workspace leads out of it.
    assert!(!covered(Section::FsWrite, &["${workspace}"], "${workspace}/link/x"));
    assert!(covered(Section::FsWrite, &["${workspace}", "/etc"], "${workspace}/link/x"));
    assert!(covered(Section::FsWrite, &["${workspace}/link"], "${workspace}/link/x"));
    assert!(covered(Section::ExecAllow, &["/usr"], "git") && !covered(Section::ExecAllow, &["/opt"], "git"));
    assert!(covered(Section::ExecAllow, &["git"], "/usr/bin/git"));
    assert!(!covered(Section::ExecAllow, &["/"], "none") && !covered(Section::ExecAllow, &["/"], "unknown"));
    assert!(covered(Section::ExecAllow, &["/usr/bin", "/bin"], "/bin/ls"));
}
