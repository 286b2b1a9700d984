//! What an expression reads of its record: the paths in it, each as an expression of its own, so that their values can
//! be shown beside the result.
//!
//! Hides how a path inside a lambda or a `$filter(…)` is told from the record: `memberOf/any(g: g/displayName eq 'VPN')`
//! reads `memberOf/displayName`. What an expression is given besides the record (`$this`, `records`) is an input as well.
//! Deliberately evaluates nothing, and names no whole record: `$it` alone is no input.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Expr;
use super::ast::{End, Head, Node, NodeKind, Path, Segment, Step};
use crate::schema::Type;

impl Expr {
    /// Whether it reads what it is given under that name besides the record.
    pub fn reads(&self, given: &str) -> bool {
        let is_given = |path: &Path| matches!(&path.head, Head::Variable(name, _) if **name == *given);
        self.inputs().iter().any(|input| matches!(&input.node.kind, NodeKind::Path(path) if is_given(path)))
    }

    /// Every path that it reads, each once, by its text.
    pub fn inputs(&self) -> Vec<Expr> {
        let mut found = BTreeMap::new();
        collect(&self.node, &mut Vec::new(), &mut found);
        found.into_iter().map(|(text, path)| expression(&text, path)).collect()
    }
}

fn expression(text: &str, path: Path) -> Expr {
    let node = Node { kind: NodeKind::Path(path), span: 0..text.len(), height: 1 };
    Expr { source: Arc::from(text), node: Arc::new(node), ty: Type::ANY }
}

/// The steps from the record, or from what is given besides, to what a lambda or filter looks at; none where it does
/// not begin there.
type Frame = Option<(Head, Vec<Step>)>;

fn collect(node: &Node, frames: &mut Vec<Frame>, found: &mut BTreeMap<String, Path>) {
    let NodeKind::Path(path) = &node.kind else {
        node.children().into_iter().for_each(|child| collect(child, frames, found));
        return;
    };
    let mut steps = base(path, frames);
    for segment in &path.segments {
        match segment {
            Segment::Property(step) => steps.iter_mut().for_each(|(_, steps)| steps.push(step.clone())),
            Segment::Filter(condition) | Segment::Key(condition) => within(condition, &steps, frames, found),
        }
    }
    let end = match &path.end {
        End::Any(Some(lambda)) | End::All(lambda) => return within(&lambda.body, &steps, frames, found),
        End::Count => End::Count,
        End::Value | End::Any(None) => End::Value,
    };
    if let Some((head, steps)) = steps.filter(|(head, steps)| *head != Head::Root || !steps.is_empty()) {
        let segments = steps.into_iter().map(Segment::Property).collect();
        let path = Path { head, segments, end };
        found.insert(path.to_string(), path);
    }
}

fn within(condition: &Node, steps: &Frame, frames: &mut Vec<Frame>, found: &mut BTreeMap<String, Path>) {
    frames.push(steps.clone());
    collect(condition, frames, found);
    frames.pop();
}

fn base(path: &Path, frames: &[Frame]) -> Frame {
    match &path.head {
        Head::Root | Head::It => Some((Head::Root, Vec::new())),
        // Beyond all lambdas is what is given besides the record.
        Head::Variable(name, depth) if usize::from(*depth) == frames.len() => {
            Some((Head::Variable(name.clone(), 0), Vec::new()))
        }
        Head::Variable(_, depth) | Head::Item(depth) | Head::This(depth) => {
            frames.iter().rev().nth(usize::from(*depth)).cloned().flatten()
        }
        Head::Alias(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Catalog, compile, compile_group, compile_item};
    use crate::record::Collection;
    use crate::schema::Type;

    #[test]
    fn what_is_given_besides_the_record_is_read_too() {
        let shown = |expr: super::Expr| expr.inputs().iter().map(ToString::to_string).collect::<Vec<_>>();
        let catalog = &mut Catalog::new();
        let split =
            compile_item("concat(mail, substringafter($this, ':'))", Some(Collection::Users), Type::TEXT, catalog);
        assert_eq!(shown(split.unwrap()), ["$this", "mail"]);
        let text =
            "concat(value, first(records/$filter(accountEnabled)/mail)) eq '' or records/any(r: r/city eq value)";
        let joined = compile_group(text, "records", Collection::Users, catalog).unwrap();
        assert_eq!(shown(joined), ["records/accountEnabled", "records/city", "records/mail", "value"]);
    }

    #[test]
    fn what_is_read_is_told_from_the_record() {
        for (text, expected) in [
            ("accountEnabled eq true and userType eq 'Member'", &["accountEnabled", "userType"][..]),
            ("coalesce(mail, userPrincipalName, mail)", &["mail", "userPrincipalName"]),
            ("1 eq 1", &[]),
            ("$it/city eq 'Oslo'", &["city"]),
            ("manager/manager/displayName", &["manager/manager/displayName"]),
            (
                "memberOf/any(g: g/displayName eq 'VPN' and g/id ne mail)",
                &["mail", "memberOf/displayName", "memberOf/id"],
            ),
            ("memberOf/any()", &["memberOf"]),
            ("memberOf/$count gt 2", &["memberOf/$count"]),
            (
                "assignedLicenses/$filter(disabledPlans/$count eq 0)/skuId",
                &["assignedLicenses/disabledPlans/$count", "assignedLicenses/skuId"],
            ),
            ("proxyAddresses/any(p: startswith(p, 'smtp:'))", &["proxyAddresses"]),
            (
                "memberOf/any(g: g/owners/all(o: o/city eq city or g/visibility eq 'Public'))",
                &["city", "memberOf/owners/city", "memberOf/visibility"],
            ),
        ] {
            let compiled = compile(text, Some(Collection::Users), &mut Catalog::new()).expect(text);
            let inputs: Vec<String> = compiled.inputs().iter().map(ToString::to_string).collect();
            assert_eq!(inputs, expected, "{text}");
        }
    }
}
