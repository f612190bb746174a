//! A smaller plan that still fails.

use crate::plan::{Plan, PlanOptions};

/// What shrinking found.
#[derive(Clone, Debug)]
pub struct Shrunk {
    /// The places that are left.
    pub keep: Vec<usize>,
    /// Places of the whole plan.
    pub places: usize,
    /// Plans that were tried.
    pub tried: usize,
}

/// Leaves out parts of the plan of `seed`, ever smaller ones, as long as `fails` says that the rest still fails; at most
/// `tries` plans are tried (delta debugging). `None` if the whole plan does not fail.
pub fn shrink(
    seed: u64,
    options: &PlanOptions,
    tries: usize,
    mut fails: impl FnMut(&PlanOptions) -> bool,
) -> Option<Shrunk> {
    let whole = Plan::draw(seed, options);
    let with = |keep: &[usize]| PlanOptions {
        keep: Some(keep.to_vec()),
        ..options.clone()
    };
    let mut keep: Vec<usize> = whole.items.iter().map(|item| item.place).collect();
    let places = whole.places;
    let mut tried = 1;
    if !fails(&with(&keep)) {
        return None;
    }
    let mut size = keep.len().div_ceil(2);
    while size > 0 && tried < tries {
        let mut removed = false;
        let mut from = 0;
        while from < keep.len() && tried < tries {
            let to = (from + size).min(keep.len());
            let rest: Vec<usize> = keep[..from].iter().chain(&keep[to..]).copied().collect();
            tried += 1;
            if fails(&with(&rest)) {
                keep = rest;
                removed = true;
            } else {
                from = to;
            }
        }
        // As long as single ones can go, another round may find more.
        if size > 1 {
            size = size.div_ceil(2);
        } else if !removed {
            break;
        }
    }
    Some(Shrunk {
        keep,
        places,
        tried,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_what_matters() {
        let options = PlanOptions::default();
        let long = |seed: &u64| Plan::draw(*seed, &options).places > 60;
        let seed = (0..1000).find(long).unwrap();
        let needs = [2, 17, 55];
        let fails = |options: &PlanOptions| {
            let keep = options.keep.as_deref().unwrap_or_default();
            needs.iter().all(|place| keep.contains(place))
        };
        let shrunk = shrink(seed, &options, 10_000, fails).unwrap();
        assert_eq!(shrunk.keep, needs);
        assert!(shrink(seed, &options, 100, |_| false).is_none());
    }
}
