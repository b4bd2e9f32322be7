//! Tells what of a source file is there in an ordinary build: not what is for tests only.

use proc_macro2::TokenStream;
use syn::parse::Parser;
use syn::punctuated::Punctuated;
use syn::{Attribute, Meta, Token};

/// Options that no ordinary build sets.
const TEST_ONLY: [&str; 4] = ["test", "loom", "shuttle", "miri"];

/// Whether something with these attributes is for tests only.
#[must_use]
pub fn is_test_only(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        Meta::List(list) if list.path.is_ident("cfg") => {
            predicates(&list.tokens).first().is_some_and(|predicate| value(predicate) == Some(false))
        }
        _ => false,
    })
}

fn predicates(tokens: &TokenStream) -> Vec<Meta> {
    let parser = Punctuated::<Meta, Token![,]>::parse_terminated;
    parser.parse2(tokens.clone()).map(|list| list.into_iter().collect()).unwrap_or_default()
}

/// The value of a predicate in an ordinary build, if it is the same in all of them.
fn value(predicate: &Meta) -> Option<bool> {
    if TEST_ONLY.iter().any(|option| predicate.path().is_ident(option)) {
        return Some(false);
    }
    let Meta::List(list) = predicate else { return None };
    let values: Vec<Option<bool>> = predicates(&list.tokens).iter().map(value).collect();
    let name = list.path.get_ident()?.to_string();
    match name.as_str() {
        "not" => values.first().copied().flatten().map(|value| !value),
        "all" if values.contains(&Some(false)) => Some(false),
        "all" => values.iter().all(|value| *value == Some(true)).then_some(true),
        "any" if values.contains(&Some(true)) => Some(true),
        "any" => values.iter().all(|value| *value == Some(false)).then_some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn test_only(attribute: &str) -> bool {
        let item: syn::ItemFn = syn::parse_str(&format!("#[{attribute}] fn f() {{}}")).unwrap();
        is_test_only(&item.attrs)
    }

    #[test]
    fn what_an_ordinary_build_never_has_is_told_from_what_it_may_have() {
        for only in
            ["cfg(test)", "cfg(all(test, feature = \"x\"))", "cfg(any(test, loom))", "cfg(not(not(test)))"]
        {
            assert!(test_only(only), "{only}");
        }
        for not in [
            "cfg(not(test))",
            "cfg(any(test, unix))",
            "cfg(feature = \"test\")",
            "inline",
            "cfg_attr(test, x)",
        ] {
            assert!(!test_only(not), "{not}");
        }
    }
}
