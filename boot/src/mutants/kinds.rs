//! The kinds of changes: what takes the place of an operator, and of a function's body. They are cargo-mutants' kinds.

use syn::{GenericArgument, PathArguments, ReturnType, Type};

/// The operators that take the place of one; none for one that stays.
#[must_use]
pub fn operators(operator: &str) -> Vec<String> {
    let others = of_plain(operator);
    match operator.strip_suffix('=') {
        // One that assigns is replaced as the one that does not.
        Some(plain) if others.is_empty() => of_plain(plain).iter().map(|other| format!("{other}=")).collect(),
        _ => others.iter().map(|&other| other.to_owned()).collect(),
    }
}

fn of_plain(operator: &str) -> &'static [&'static str] {
    match operator {
        "==" => &["!="],
        "!=" => &["=="],
        "<" => &["==", ">", "<="],
        ">" => &["==", "<", ">="],
        "<=" => &[">"],
        ">=" => &["<"],
        "&&" => &["||"],
        "||" => &["&&"],
        "+" => &["-", "*"],
        "-" => &["+", "/"],
        "*" => &["+", "/"],
        "/" => &["%", "*"],
        "%" => &["/", "+"],
        "&" => &["|", "^"],
        "|" => &["&", "^"],
        "^" => &["|", "&"],
        "<<" => &[">>"],
        ">>" => &["<<"],
        _ => &[],
    }
}

/// The values that a function returns in the place of what its body makes.
#[must_use]
pub fn values(output: &ReturnType) -> Vec<String> {
    match output {
        ReturnType::Default => vec!["()".into()],
        ReturnType::Type(_, of) => of_type(of),
    }
}

fn of_type(of: &Type) -> Vec<String> {
    let any = || vec!["Default::default()".to_owned()];
    let path = match of {
        Type::Tuple(tuple) if tuple.elems.is_empty() => return vec!["()".into()],
        // There is no value, or none whose type could be named.
        Type::Never(_) | Type::ImplTrait(_) => return Vec::new(),
        Type::Path(path) => &path.path,
        _ => return any(),
    };
    let Some(last) = path.segments.last() else { return any() };
    match last.ident.to_string().as_str() {
        "bool" => vec!["true".into(), "false".into()],
        "u8" | "u16" | "u32" | "u64" | "u128" | "usize" | "i8" | "i16" | "i32" | "i64" | "i128" | "isize" => {
            vec!["0".into(), "1".into()]
        }
        "Option" => vec!["None".into()],
        "Result" => {
            let inner = match &last.arguments {
                PathArguments::AngleBracketed(list) => list.args.first(),
                _ => None,
            };
            let inner = match inner {
                Some(GenericArgument::Type(inner)) => of_type(inner),
                _ => any(),
            };
            inner.into_iter().map(|value| format!("Ok({value})")).collect()
        }
        _ => any(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(output: &str) -> Vec<String> {
        let item: syn::ItemFn = syn::parse_str(&format!("fn f() {output} {{ loop {{}} }}")).unwrap();
        values(&item.sig.output)
    }

    #[test]
    fn an_operator_that_assigns_is_replaced_by_such() {
        for (operator, expected) in [
            ("<", &["==", ">", "<="][..]),
            ("<=", &[">"]),
            ("==", &["!="]),
            ("<<", &[">>"]),
            ("<<=", &[">>="]),
            ("|=", &["&=", "^="]),
        ] {
            assert_eq!(operators(operator), expected, "{operator}");
        }
    }

    #[test]
    fn the_return_type_decides_the_values() {
        for (output, expected) in [
            ("", &["()"][..]),
            ("-> ()", &["()"]),
            ("-> bool", &["true", "false"]),
            ("-> usize", &["0", "1"]),
            ("-> Option<usize>", &["None"]),
            ("-> Result<bool, Error>", &["Ok(true)", "Ok(false)"]),
            ("-> fmt::Result", &["Ok(Default::default())"]),
            ("-> Vec<u8>", &["Default::default()"]),
            ("-> &'static str", &["Default::default()"]),
            ("-> !", &[]),
            ("-> impl Iterator<Item = u8>", &[]),
        ] {
            assert_eq!(of(output), expected, "{output}");
        }
    }
}
