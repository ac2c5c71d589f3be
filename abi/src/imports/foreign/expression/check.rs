//! What an expression may be, and the attributes that it names.

use cel::common::ast::{ComprehensionExpr, EntryExpr, Expr, LiteralValue, operators};
use cel::parser::Expression;

use crate::limits::{EXPRESSION_DEPTH_MAX, EXPRESSION_LOOPS_MAX, EXPRESSION_NESTING_MAX};

/// Whether so few brackets and prefix operators nest in `source` that a parser that
/// calls itself gets by with a worker's stack. Brackets in texts count, too.
pub(super) fn is_shallow(source: &str) -> bool {
    let (mut open, mut prefixes, mut choices) = (0_usize, 0_usize, 0_usize);
    for byte in source.bytes() {
        match byte {
            b'(' | b'[' | b'{' => open += 1,
            b')' | b']' | b'}' => open = open.saturating_sub(1),
            b'?' => choices += 1,
            _ => {}
        }
        match byte {
            b'!' | b'-' => prefixes += 1,
            b' ' | b'\t' | b'\n' | b'\r' => {}
            _ => prefixes = 0,
        }
        if open + prefixes + choices > EXPRESSION_NESTING_MAX {
            return false;
        }
    }
    true
}

/// Functions that an expression may call: name, and how many arguments, a receiver
/// among them.
const FUNCTIONS: [(&str, &[usize]); 33] = [
    ("size", &[1]),
    ("startsWith", &[2]),
    ("endsWith", &[2]),
    ("contains", &[2]),
    ("matches", &[2]),
    ("int", &[1]),
    ("uint", &[1]),
    ("double", &[1]),
    ("string", &[1]),
    ("bytes", &[1]),
    ("bool", &[1]),
    ("dyn", &[1]),
    ("type", &[1]),
    ("timestamp", &[1]),
    ("duration", &[1]),
    ("getFullYear", &[1, 2]),
    ("getMonth", &[1, 2]),
    ("getDayOfYear", &[1, 2]),
    ("getDayOfMonth", &[1, 2]),
    ("getDate", &[1, 2]),
    ("getDayOfWeek", &[1, 2]),
    ("getHours", &[1, 2]),
    ("getMinutes", &[1, 2]),
    ("getSeconds", &[1, 2]),
    ("getMilliseconds", &[1, 2]),
    (operators::CONDITIONAL, &[3]),
    (operators::LOGICAL_NOT, &[1]),
    (operators::NEGATE, &[1]),
    (operators::NOT_STRICTLY_FALSE, &[1]),
    (operators::IN, &[2]),
    (operators::INDEX, &[2]),
    (operators::LOGICAL_AND, &[2]),
    (operators::LOGICAL_OR, &[2]),
];

/// Operators of two sides.
const OPERATORS: [&str; 11] = [
    operators::ADD,
    operators::SUBSTRACT,
    operators::MULTIPLY,
    operators::DIVIDE,
    operators::MODULO,
    operators::EQUALS,
    operators::NOT_EQUALS,
    operators::GREATER,
    operators::GREATER_EQUALS,
    operators::LESS,
    operators::LESS_EQUALS,
];

/// The attributes that `expression` names, as paths; `None` for an expression that
/// is not to be evaluated.
pub(super) fn paths(expression: &Expression) -> Option<Vec<Vec<String>>> {
    let mut walk = Walk::default();
    walk.visit(expression, 0)?;
    walk.paths.sort();
    walk.paths.dedup();
    Some(walk.paths)
}

#[derive(Default)]
struct Walk {
    paths: Vec<Vec<String>>,
    /// Loops around the place at hand.
    loops: usize,
    /// Loops that make lists, in all.
    lists: usize,
    /// Whether the place at hand is what a loop makes list items of.
    growing: bool,
}

impl Walk {
    fn visit(&mut self, expression: &Expression, depth: usize) -> Option<()> {
        if depth > EXPRESSION_DEPTH_MAX {
            return None;
        }
        let depth = depth + 1;
        if let Some(path) = path(expression) {
            self.paths.push(path);
            return Some(());
        }
        match &expression.expr {
            Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) => Some(()),
            Expr::Select(select) => self.visit(&select.operand, depth),
            Expr::List(list) => self.all(&list.elements, depth),
            Expr::Map(map) => map.entries.iter().try_for_each(|entry| match &entry.expr {
                EntryExpr::MapEntry(entry) => {
                    self.visit(&entry.key, depth)?;
                    self.visit(&entry.value, depth)
                }
                EntryExpr::StructField(_) => None,
            }),
            Expr::Struct(_) => None,
            Expr::Call(call) => {
                let name = call.func_name.as_str();
                let count = call.args.len() + usize::from(call.target.is_some());
                let known = FUNCTIONS
                    .iter()
                    .any(|(known, counts)| *known == name && counts.contains(&count))
                    || OPERATORS.contains(&name) && count == 2;
                if !known || self.growing && name == operators::ADD {
                    return None;
                }
                if let Some(target) = &call.target {
                    self.visit(target, depth)?;
                }
                self.all(&call.args, depth)
            }
            Expr::Comprehension(comprehension) => self.comprehension(comprehension, depth),
        }
    }

    fn all(&mut self, expressions: &[Expression], depth: usize) -> Option<()> {
        expressions.iter().try_for_each(|e| self.visit(e, depth))
    }

    fn comprehension(&mut self, loops: &ComprehensionExpr, depth: usize) -> Option<()> {
        self.visit(&loops.iter_range, depth)?;
        let growing = self.growing;
        let makes_list = matches!(loops.accu_init.expr, Expr::List(_));
        self.lists += usize::from(makes_list);
        self.loops += 1;
        if self.loops > EXPRESSION_LOOPS_MAX || self.lists > EXPRESSION_LOOPS_MAX {
            return None;
        }
        if makes_list {
            self.step(&loops.loop_step, depth)?;
        } else {
            self.visit(&loops.loop_step, depth)?;
        }
        self.visit(&loops.loop_cond, depth)?;
        self.visit(&loops.result, depth)?;
        self.growing = growing;
        self.loops -= 1;
        // The loop's own variables are no attributes.
        let own = [&loops.iter_var, &loops.accu_var];
        self.paths.retain(|path| !own.contains(&&path[0]));
        Some(())
    }

    /// One step of `map` or `filter`: `list + [item]`, perhaps on a condition.
    fn step(&mut self, step: &Expression, depth: usize) -> Option<()> {
        match &step.expr {
            Expr::Call(call) if call.func_name == operators::CONDITIONAL => {
                let [condition, then, _] = &call.args[..] else {
                    return None;
                };
                self.visit(condition, depth)?;
                self.step(then, depth)
            }
            Expr::Call(call) if call.func_name == operators::ADD => {
                self.growing = true;
                self.all(&call.args, depth)
            }
            _ => None,
        }
    }
}

/// The path that an expression spells: names, fields, and indices that are texts or
/// numbers.
fn path(expression: &Expression) -> Option<Vec<String>> {
    let mut path = Vec::new();
    let mut expression = expression;
    loop {
        match &expression.expr {
            Expr::Ident(name) => {
                path.push(name.clone());
                path.reverse();
                return Some(path);
            }
            Expr::Select(select) => {
                path.push(select.field.clone());
                expression = &select.operand;
            }
            Expr::Call(call) if call.func_name == operators::INDEX => {
                let [operand, index] = &call.args[..] else {
                    return None;
                };
                let Expr::Literal(LiteralValue::String(key)) = &index.expr else {
                    return None;
                };
                path.push(key.inner().to_owned());
                expression = operand;
            }
            _ => return None,
        }
        if path.len() > EXPRESSION_NESTING_MAX {
            return None;
        }
    }
}
