//! `vantio doctor`

use std::io;

use serde_json::json;
use vantio_phantom::probe::{Finding, host, requirements};

use crate::{
    failure::Failure,
    nested,
    present::{self, Paint, shown},
    store::Store,
};

/// Probes what this host can enforce; exit status 1 when no run can start here. Within a run nothing is probed: what it
/// would find is the run's own, and what is refused to it would be held against the run.
pub fn doctor(json: bool) -> Result<u8, Failure> {
    if let Some(run) = nested::governed_by() {
        return within(&run, json);
    }
    let store = Store::open(None)?;
    let findings = host(store.root());
    let can_run = requirements(&findings).is_ok();
    if json {
        let list: serde_json::Value = findings.iter().map(finding_json).collect();
        present::print_json(
            json!({ "backend": "notify", "can_run": can_run, "findings": list, "inside": null }),
        )?;
    } else {
        present::print(render(&findings, can_run, Paint::for_stream(&io::stdout())))?;
    }
    Ok(u8::from(!can_run))
}

fn within(run: &str, json: bool) -> Result<u8, Failure> {
    if json {
        let told = json!({ "backend": "notify", "can_run": true, "findings": [], "inside": run });
        present::print_json(told)?;
    } else {
        let verdict = Paint::for_stream(&io::stdout()).green("agents can be run here, within this run");
        present::print(format!(
            "this is inside run {run}, and not the host: nothing is probed\n\
             what is run here is held by its policy, and by a further one: vantio run --policy FILE -- CMD\n\
             \n{verdict}\n"
        ))?;
    }
    Ok(0)
}

fn finding_json(finding: &Finding) -> serde_json::Value {
    json!({
        "name": finding.name,
        "works": finding.works,
        "required": finding.is_required,
        "detail": finding.detail,
        "cost": finding.cost,
    })
}

fn render(findings: &[Finding], can_run: bool, paint: Paint) -> String {
    let width = findings.iter().map(|finding| finding.name.chars().count()).max().unwrap_or(0);
    let lines = findings.iter().map(|finding| {
        let mark = match (finding.works, finding.is_required) {
            (true, _) => paint.green("ok"),
            (false, true) => paint.red("no"),
            (false, false) => paint.dim("--"),
        };
        let gap = " ".repeat(width - finding.name.chars().count());
        let cost = if finding.works {
            String::new()
        } else {
            format!("{:indent$}without it: {}\n", "", finding.cost, indent = width + 6)
        };
        format!("{mark}  {}{gap}  {}\n{cost}", finding.name, shown(&finding.detail))
    });
    let verdict = if can_run {
        paint.green("agents can be run here: backend notify")
    } else {
        paint.red("agents cannot be run here: what is marked `no` is needed")
    };
    format!("{}\n{verdict}\n", lines.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_is_shown_with_what_it_costs() {
        let finding = |name, works, is_required| Finding {
            name,
            works,
            detail: "seen".into(),
            cost: "speed",
            is_required,
        };
        let findings =
            [finding("one", true, true), finding("three", false, false), finding("two", false, true)];
        insta::assert_snapshot!(render(&findings, false, Paint::plain()), @r"
        ok  one    seen
        --  three  seen
                   without it: speed
        no  two    seen
                   without it: speed

        agents cannot be run here: what is marked `no` is needed
        ");
    }
}
