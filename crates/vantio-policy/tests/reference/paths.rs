//! Paths: reading, writing, executing, seeing, moving, removing.

use proptest::{collection::vec, prelude::*, sample::select};
use vantio_core::{Access, Effect, Intent, Target};
use vantio_policy::{PolicyProgram, decide};

use crate::{build, list};

/// Names short enough that random patterns and paths often meet.
const NAMES: [&str; 5] = ["a", "b", "ab", "w", ".e"];

fn pattern() -> impl Strategy<Value = String> {
    let start = select(vec!["", "${workspace}", "~", "**"]);
    let component = select(vec!["a", "b", "ab", ".e", "w", "*", "?", "a*", "[ab]", "[!a]", "**", "*b"]);
    (start, vec(component, 0..4)).prop_map(|(start, components)| match components.as_slice() {
        [] if start != "${workspace}" => format!("{start}/a"),
        [] => start.to_owned(),
        components => format!("{start}/{}", components.join("/")),
    })
}

fn path() -> impl Strategy<Value = String> {
    vec(select(NAMES.to_vec()), 0..5).prop_map(|names| join(&names))
}

fn join(names: &[&str]) -> String {
    format!("/{}", names.join("/"))
}

fn split(path: &str) -> Vec<&str> {
    path.split('/').filter(|name| !name.is_empty()).collect()
}

#[derive(Clone, Debug)]
struct Policy {
    read: Vec<String>,
    write: Vec<String>,
    deny: Vec<String>,
    exec: Vec<String>,
    exec_deny: Vec<String>,
}

fn policy() -> impl Strategy<Value = Policy> {
    let patterns = || vec(pattern(), 0..3);
    (patterns(), patterns(), patterns(), patterns(), patterns())
        .prop_map(|(read, write, deny, exec, exec_deny)| Policy { read, write, deny, exec, exec_deny })
}

impl Policy {
    fn document(&self) -> String {
        let Self { read, write, deny, exec, exec_deny } = self;
        format!(
            "version: 1\nfs: {{read: {}, write: {}, deny: {}}}\nexec: {{allow: {}, deny: {}}}\n",
            list(read),
            list(write),
            list(deny),
            list(exec),
            list(exec_deny)
        )
    }

    fn denies(&self, path: &str) -> bool {
        self.deny.iter().any(|pattern| covers(pattern, path, true))
    }

    fn reads(&self, path: &str) -> bool {
        let lists = |patterns: &[String]| {
            patterns.iter().any(|pattern| {
                let above = pattern.strip_suffix("/**");
                covers(pattern, path, false) || above.is_some_and(|above| matches_whole(above, path))
            })
        };
        !self.denies(path)
            && (lists(&self.read)
                || lists(&self.write)
                || self.exec.iter().any(|pattern| covers(pattern, path, false)))
    }

    fn writes(&self, path: &str) -> bool {
        !self.denies(path) && self.write.iter().any(|pattern| covers(pattern, path, false))
    }

    fn executes(&self, path: &str) -> bool {
        !self.denies(path)
            && !self.exec_deny.iter().any(|pattern| covers(pattern, path, true))
            && self.exec.iter().any(|pattern| covers(pattern, path, false))
    }

    fn shows(&self, path: &str) -> bool {
        let mut names = split(path);
        names.pop();
        !self.denies(&join(&names))
    }
}

/// Whether the pattern covers the path: as a whole, or, where the pattern reaches
/// below what it matches, from an ancestor.
fn covers(pattern: &str, path: &str, is_deny: bool) -> bool {
    let names = split(path);
    if let Some(above) = pattern.strip_suffix("/**") {
        return (0..names.len()).any(|length| matches_whole(above, &join(&names[..length])));
    }
    let last = pattern.rsplit('/').next().unwrap();
    let reaches_below = is_deny || !last.contains(['*', '?', '[']);
    let from = if reaches_below { 0 } else { names.len() };
    (from..=names.len()).any(|length| matches_whole(pattern, &join(&names[..length])))
}

fn matches_whole(pattern: &str, path: &str) -> bool {
    let pattern = pattern.replace("${workspace}", "/w").replace('~', "/h/u");
    matches_components(&split(&pattern), &split(path))
}

fn matches_components(pattern: &[&str], path: &[&str]) -> bool {
    match pattern.split_first() {
        None => path.is_empty(),
        Some((&"**", rest)) => (0..=path.len()).any(|skip| matches_components(rest, &path[skip..])),
        Some((first, rest)) => path
            .split_first()
            .is_some_and(|(name, names)| matches_name(first, name) && matches_components(rest, names)),
    }
}

fn matches_name(pattern: &str, name: &str) -> bool {
    let rest = |length: usize| name.chars().skip(length).collect::<String>();
    let first = name.chars().next();
    match pattern.chars().next() {
        None => name.is_empty(),
        Some('*') => (0..=name.chars().count()).any(|skip| matches_name(&pattern[1..], &rest(skip))),
        Some('?') => first.is_some() && matches_name(&pattern[1..], &rest(1)),
        Some('[') => {
            let (class, after) = pattern[1..].split_once(']').unwrap();
            let (negated, class) = class.strip_prefix('!').map_or((false, class), |class| (true, class));
            first.is_some_and(|first| class.contains(first) != negated) && matches_name(after, &rest(1))
        }
        Some(literal) => first == Some(literal) && matches_name(&pattern[literal.len_utf8()..], &rest(1)),
    }
}

/// Every sequence of at most `depth` names.
fn names_below(depth: usize) -> Vec<Vec<&'static str>> {
    let mut all = vec![Vec::new()];
    let mut last = all.clone();
    for _ in 0..depth {
        last = last.iter().flat_map(|names| NAMES.map(|name| [names.as_slice(), &[name]].concat())).collect();
        all.extend(last.clone());
    }
    all
}

fn join_below(path: &str, names: &[&str]) -> String {
    let mut all = split(path);
    all.extend(names);
    join(&all)
}

fn is_permitted(policy: &Policy, effect: Effect, target: Target<'_>) -> bool {
    let (program, state) = build(&policy.document());
    decide(&program, &state, &Intent::new(effect, target)).is_permit()
}

fn at(path: &str, access: Access, subtree: bool) -> Target<'_> {
    Target::Path { path: path.as_bytes(), access, subtree }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn files_are_decided_as_the_reference_decides(policy in policy(), path in path()) {
        let read = is_permitted(&policy, Effect::FsOpen, at(&path, Access::Read, false));
        prop_assert_eq!(read, policy.reads(&path), "read");
        let written = is_permitted(&policy, Effect::FsOpen, at(&path, Access::Write, false));
        prop_assert_eq!(written, policy.writes(&path), "write");
        let executed = is_permitted(&policy, Effect::ProcExec, at(&path, Access::Read, false));
        prop_assert_eq!(executed, policy.executes(&path), "exec");
        let shown = is_permitted(&policy, Effect::FsStat, at(&path, Access::Read, false));
        prop_assert_eq!(shown, policy.shows(&path), "stat");
    }

    #[test]
    fn files_are_renamed_as_the_reference_says(
        mut policy in policy(),
        writes_all in any::<bool>(),
        from in path(),
        to in path(),
    ) {
        if writes_all {
            policy.write.push("/".to_owned());
        }
        let target = Target::Paths { from: from.as_bytes(), to: to.as_bytes(), subtree: false };
        let expected = policy.writes(&from) && policy.writes(&to);
        prop_assert_eq!(is_permitted(&policy, Effect::FsRename, target), expected);
        prop_assert_eq!(is_permitted(&policy, Effect::FsLink, target), expected);
    }

    #[test]
    fn moving_a_folder_moves_no_deny(mut policy in policy(), from in path(), to in path()) {
        policy.write.push("/".to_owned());
        let target = Target::Paths { from: from.as_bytes(), to: to.as_bytes(), subtree: true };
        if is_permitted(&policy, Effect::FsRename, target) {
            for names in names_below(3) {
                let (old, new) = (join_below(&from, &names), join_below(&to, &names));
                prop_assert_eq!(policy.denies(&old), policy.denies(&new), "{} and {}", old, new);
            }
        }
    }

    #[test]
    fn moving_a_folder_needs_write_on_all_of_it(policy in policy(), from in path(), to in path()) {
        let target = Target::Paths { from: from.as_bytes(), to: to.as_bytes(), subtree: true };
        if is_permitted(&policy, Effect::FsRename, target) {
            for path in [&from, &to] {
                for names in names_below(3) {
                    let path = join_below(path, &names);
                    prop_assert!(policy.denies(&path) || policy.writes(&path), "{}", path);
                }
            }
        }
    }

    #[test]
    fn a_folder_is_removed_unless_its_name_matters_to_a_deny(mut policy in policy(), path in path()) {
        prop_assume!(path != "/");
        policy.write.push("/".to_owned());
        policy.deny.truncate(1);
        let parent = join(&split(&path)[..split(&path).len() - 1]);
        let elsewhere = join_below(&parent, &["zz"]);
        let differs = names_below(4).iter().any(|names| {
            policy.denies(&join_below(&path, names)) != policy.denies(&join_below(&elsewhere, names))
        });
        let is_permitted = is_permitted(&policy, Effect::FsRmdir, at(&path, Access::Write, true));
        prop_assert!(!is_permitted || !differs && !policy.denies(&path));
        // Where a wildcard makes two ways of matching cover the same names, a removal
        // may be refused that need not be.
        let is_plain = policy.deny.iter().all(|pattern| split(pattern).iter().all(|part| {
            *part == "**" || !part.contains(['*', '?', '['])
        }));
        prop_assert!(!is_plain || is_permitted || differs || policy.denies(&path));
    }

    #[test]
    fn programs_survive_their_bytes_and_order_means_nothing(policy in policy()) {
        let (program, _) = build(&policy.document());
        prop_assert_eq!(PolicyProgram::decode(&program.encode()), Ok(program.clone()));
        let mut turned = policy.clone();
        for patterns in [&mut turned.read, &mut turned.write, &mut turned.deny, &mut turned.exec] {
            patterns.reverse();
            patterns.extend(patterns.clone());
        }
        prop_assert_eq!(build(&turned.document()).0.hash(), program.hash());
    }
}
