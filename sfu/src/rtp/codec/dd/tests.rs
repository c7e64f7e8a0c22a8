use proptest::prelude::*;

use super::*;

#[test]
fn descriptors_are_read_and_renumbered() {
    let mut value = [0xc5, 0x12, 0x34, 0x80, 0x01];
    let expected = DependencyDescriptor {
        start_of_frame: true,
        end_of_frame: true,
        template_id: 5,
        frame_number: 0x1234,
        has_structure: true,
    };
    assert_eq!(DependencyDescriptor::parse(&value), Ok(expected));
    DependencyDescriptor::rewrite_frame_number(&mut value, 0xffff);
    assert_eq!(value, [0xc5, 0xff, 0xff, 0x80, 0x01]);
    let short = DependencyDescriptor::parse(&value[..3]).unwrap();
    assert!(!short.has_structure);
    assert!(DependencyDescriptor::parse(&value[..2]).is_err());
    DependencyDescriptor::rewrite_frame_number(&mut value[..2], 7);
}

/// A template: spatial and temporal layer, an indication for each decode target as the specification
/// writes them, and the frames it refers to, counted backwards.
type Shape<'a> = (u8, u8, &'a str, &'a [u32]);

/// Two spatial layers at two frame rates each, upper pictures predicted from lower ones.
const L2T2: [Shape<'static>; 6] = [
    (0, 0, "SSSS", &[]),
    (0, 0, "SSRR", &[4]),
    (0, 1, "-D-R", &[2]),
    (1, 0, "--SS", &[1]),
    (1, 0, "--SS", &[4, 1]),
    (1, 1, "---D", &[2, 1]),
];
const SIZES: [(u32, u32); 2] = [(640, 360), (1_280, 720)];

/// The descriptor of an encoder. The default is nothing but the mandatory fields.
#[derive(Clone, Copy, Default)]
struct Written<'a> {
    template: u8,
    structure: Option<(u8, &'a [Shape<'a>])>,
    chains: Option<&'a [u32]>,
    sizes: &'a [(u32, u32)],
    active: Option<u32>,
    indications: Option<&'a str>,
    /// References, each with its number of nibbles.
    references: Option<&'a [(usize, u32)]>,
    custom_chains: &'a [u32],
}

impl Written<'_> {
    fn value(&self) -> Vec<u8> {
        let mut bits = Vec::new();
        let mut put = |value: u32, count: usize| {
            bits.extend((0..count).rev().map(|bit| value >> bit & 1 == 1));
        };
        put(0b11 << 6 | u32::from(self.template), 8);
        put(0x1234, 16);
        let flags = [
            self.structure.is_some(),
            self.active.is_some(),
            self.indications.is_some(),
            self.references.is_some(),
            !self.custom_chains.is_empty(),
        ];
        if flags != [false; 5] {
            flags.iter().for_each(|flag| put(u32::from(*flag), 1));
        }
        if let Some((offset, shapes)) = self.structure {
            self.write_structure(offset, shapes, &mut put);
        }
        let targets = self.structure.map_or(4, |(_, shapes)| shapes[0].2.len());
        if let Some(active) = self.active {
            put(active, targets);
        }
        write_indications(self.indications.unwrap_or(""), &mut put);
        if let Some(references) = self.references {
            for (nibbles, before) in references {
                put(*nibbles as u32, 2);
                put(before - 1, 4 * nibbles);
            }
            put(0, 2);
        }
        self.custom_chains.iter().for_each(|chain| put(*chain, 8));
        let bytes = bits.chunks(8).map(|bits| {
            let bits = bits.iter().enumerate();
            bits.fold(0, |byte, (at, bit)| byte | u8::from(*bit) << (7 - at))
        });
        bytes.collect()
    }

    fn write_structure(&self, offset: u8, shapes: &[Shape<'_>], put: &mut impl FnMut(u32, usize)) {
        let targets = shapes[0].2.len() as u32;
        put(offset.into(), 6);
        put(targets - 1, 5);
        for (this, next) in shapes.iter().zip(&shapes[1..]) {
            put(
                match (next.0 - this.0, next.1 != this.1) {
                    (1, _) => 2,
                    (_, true) => 1,
                    _ => 0,
                },
                2,
            );
        }
        put(3, 2);
        for (_, _, indications, _) in shapes {
            write_indications(indications, put);
        }
        for (_, _, _, references) in shapes {
            for before in *references {
                put(1, 1);
                put(before - 1, 4);
            }
            put(0, 1);
        }
        // `ns(n)` as the specification has it, from the value's side.
        let non_symmetric = |value: u32, n: u32, put: &mut dyn FnMut(u32, usize)| {
            let width = (n.ilog2() + 1) as usize;
            let short = (1 << width) - n;
            match value < short {
                true => put(value, width - 1),
                false => put(value + short, width),
            }
        };
        let chains = self.chains.map_or(0, |protected| {
            protected.iter().max().map_or(1, |highest| highest + 1)
        });
        non_symmetric(chains, targets + 1, put);
        if let Some(protected) = self.chains {
            for chain in protected {
                non_symmetric(*chain, chains, put);
            }
            for index in 0..shapes.len() as u32 * chains {
                put(index % 16, 4);
            }
        }
        put(u32::from(!self.sizes.is_empty()), 1);
        for (width, height) in self.sizes {
            put(width - 1, 16);
            put(height - 1, 16);
        }
    }
}

fn write_indications(indications: &str, put: &mut impl FnMut(u32, usize)) {
    for indication in indications.chars() {
        put("-DSR".find(indication).unwrap() as u32, 2);
    }
}

const KEY: Written<'static> = Written {
    template: 0,
    structure: Some((0, &L2T2)),
    chains: Some(&[0, 0, 1, 1]),
    sizes: &SIZES,
    active: None,
    indications: None,
    references: None,
    custom_chains: &[],
};

/// The meaning of the templates above.
fn expected() -> [(Targets, Targets, u64, bool); 6] {
    let upper = Targets::from(1, 0);
    [
        (Targets::ALL, Targets::ALL, 0, true),
        (Targets::ALL, Targets::row(0, 0), 0b1000, false),
        (Targets::from(0, 1), Targets::NONE, 0b10, false),
        (upper, upper, 0b1, false),
        (upper, upper, 0b1001, false),
        (Targets::from(1, 1), Targets::NONE, 0b11, false),
    ]
}

fn said(structure: &Structure, value: &[u8]) -> (Targets, Targets, u64, bool) {
    let Frame {
        info, references, ..
    } = structure.frame(value).unwrap();
    (info.needed, info.switches, references, info.key)
}

#[test]
fn templates_say_for_whom_a_frame_is() {
    // Targets stand from the lowest to the highest, and the other way round.
    let backwards: Vec<(u8, u8, String, &[u32])> = L2T2
        .iter()
        .map(|shape| (shape.0, shape.1, shape.2.chars().rev().collect(), shape.3))
        .collect();
    let backwards: Vec<Shape<'_>> = backwards
        .iter()
        .map(|(spatial, temporal, indications, references)| {
            (*spatial, *temporal, indications.as_str(), *references)
        })
        .collect();
    for shapes in [&L2T2[..], &backwards] {
        for offset in [0, 7, 60] {
            for chains in [
                None,
                Some(&[0, 0, 0, 0][..]),
                Some(&[0, 0, 1, 1]),
                Some(&[2, 0, 1, 3]),
            ] {
                let key = Written {
                    template: offset,
                    structure: Some((offset, shapes)),
                    chains,
                    ..KEY
                };
                let structure = Structure::parse(&key.value()).unwrap();
                assert_eq!(structure.spatial_layers, 2);
                assert_eq!(structure.resolutions[..2], [(640, 360), (1_280, 720)]);
                for (index, expected) in expected().into_iter().enumerate() {
                    // Numbers of templates wrap.
                    let frame = Written {
                        template: (offset + index as u8) % 64,
                        ..Written::default()
                    };
                    let case = format!("template {index} from {offset}, {chains:?}");
                    assert_eq!(said(&structure, &frame.value()), expected, "{case}");
                    let info = structure.frame(&frame.value()).unwrap().info;
                    assert_eq!(
                        (info.spatial, info.temporal),
                        (L2T2[index].0, L2T2[index].1)
                    );
                }
                let beyond = Written {
                    template: (offset + 6) % 64,
                    ..Written::default()
                };
                assert!(
                    structure.frame(&beyond.value()).is_err(),
                    "no such template"
                );
            }
        }
    }
}

#[test]
fn what_a_frame_says_of_itself_goes_before_its_template() {
    let structure = Structure::parse(&KEY.value()).unwrap();
    let of_template = expected()[2];
    let own = Written {
        template: 2,
        ..Written::default()
    };
    let (sparse, far) = ([(1, 3), (2, 17), (3, 64)], [(1, 1), (3, 65)]);
    let cases = [
        (
            "active targets only",
            Written {
                active: Some(3),
                ..own
            },
            of_template,
        ),
        (
            "indications",
            Written {
                indications: Some("-S-R"),
                ..own
            },
            (
                Targets::from(0, 1),
                Targets::row(0, 1),
                of_template.2,
                false,
            ),
        ),
        (
            "for nobody",
            Written {
                indications: Some("----"),
                ..own
            },
            (Targets::NONE, Targets::NONE, of_template.2, false),
        ),
        (
            "references of each length",
            Written {
                references: Some(&sparse),
                ..own
            },
            (
                of_template.0,
                of_template.1,
                1 << 2 | 1 << 16 | 1 << 63,
                false,
            ),
        ),
        (
            "no references: it needs no other frame",
            Written {
                references: Some(&[]),
                ..own
            },
            (of_template.0, of_template.1, 0, true),
        ),
        (
            "chains, which are passed over",
            Written {
                custom_chains: &[9, 9],
                ..own
            },
            of_template,
        ),
        (
            "all of it",
            Written {
                active: Some(15),
                indications: Some("--SS"),
                references: Some(&[(1, 1)]),
                custom_chains: &[1, 2],
                ..own
            },
            (Targets::from(1, 0), Targets::from(1, 0), 1, false),
        ),
    ];
    for (what, written, expected) in cases {
        assert_eq!(said(&structure, &written.value()), expected, "{what}");
        // The descriptor stands after a structure.
        let with_structure = Written {
            structure: KEY.structure,
            chains: KEY.chains,
            sizes: KEY.sizes,
            ..written
        };
        let value = with_structure.value();
        let structure = Structure::parse(&value).unwrap();
        assert_eq!(
            said(&structure, &value),
            expected,
            "{what}, with a structure"
        );
    }
    let far = Written {
        references: Some(&far),
        ..own
    };
    let far = structure.frame(&far.value()).unwrap();
    assert!(far.refers_far_back && far.references == 1 && !far.info.key);
}

#[test]
fn restricted_descriptors_say_what_goes_on_and_nothing_else_changes() {
    for (spatial, temporal, active) in [(0, 0, 0b0001), (0, 1, 0b0011), (1, 0, 0b0101)] {
        for written in [
            KEY,
            Written {
                active: Some(0b1111),
                ..KEY
            },
            Written {
                indications: Some("SSSS"),
                references: Some(&[]),
                ..KEY
            },
        ] {
            let value = written.value();
            let (out, len) = restrict(&value, spatial, temporal).unwrap();
            let (before, after) = (
                Structure::parse(&value).unwrap(),
                Structure::parse(&out[..len]).unwrap(),
            );
            let mut bits = Bits::new(&out[..len], after.end);
            // The lowest bit is that of the first decode target.
            assert_eq!(bits.read(4), Ok(active), "{spatial}.{temporal}");
            assert_eq!(said(&after, &out[..len]), said(&before, &value));
            for template in 0..6 {
                let frame = Written {
                    template,
                    ..Written::default()
                }
                .value();
                assert_eq!(said(&after, &frame), said(&before, &frame), "{template}");
            }
            assert_eq!(
                restrict(&out[..len], spatial, temporal),
                None,
                "said already"
            );
        }
    }
    assert_eq!(restrict(&KEY.value(), 1, 1), None, "all go on");
    assert_eq!(
        restrict(&Written::default().value(), 0, 0),
        None,
        "no structure"
    );
}

#[test]
fn what_is_cut_short_or_too_much_is_refused() {
    let whole = Written {
        active: Some(7),
        indications: Some("SSRR"),
        references: Some(&[(2, 100)]),
        ..KEY
    };
    let value = whole.value();
    let structure = Structure::parse(&value).unwrap();
    for cut in 0..value.len() {
        let cut_value = &value[..cut];
        let parsed = Structure::parse(cut_value).is_ok();
        assert_eq!(parsed, cut * 8 >= structure.end, "cut to {cut}");
        // With three bytes it looks like one that only names its template.
        let frame = structure.frame(cut_value);
        assert_eq!(frame.is_ok(), cut == 3, "cut to {cut}");
        assert_eq!(
            restrict(cut_value, 0, 0).is_some(),
            parsed && cut * 8 >= structure.end + 4
        );
    }
    let crowd: Vec<Shape<'_>> = vec![(0, 0, "S", &[]); TEMPLATES + 1];
    let of = |shapes: &[Shape<'_>]| {
        let written = Written {
            structure: Some((0, shapes)),
            ..Written::default()
        };
        Structure::parse(&written.value()).map(|structure| structure.count)
    };
    assert_eq!(of(&crowd[1..]), Ok(TEMPLATES));
    assert!(of(&crowd).is_err());
    // Layers beyond the number told apart count as the highest.
    let tower: Vec<Shape<'_>> = (0..6)
        .map(|spatial| (spatial, 0, "SSSSSS", &[1][..]))
        .collect();
    let written = Written {
        template: 5,
        structure: Some((0, &tower)),
        sizes: &[(1, 1), (2, 2), (3, 3), (4, 4), (5, 5), (6, 6)],
        references: Some(&[(1, 2)]),
        ..Written::default()
    };
    let value = written.value();
    let structure = Structure::parse(&value).unwrap();
    assert_eq!(structure.resolutions, [(1, 1), (2, 2), (3, 3), (4, 4)]);
    assert_eq!(structure.spatial_layers, 4);
    let frame = structure.frame(&value).unwrap();
    assert_eq!((frame.info.spatial, frame.references), (3, 0b10));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(5_000))]

    #[test]
    fn whatever_comes_is_read_or_refused(
        mut value in proptest::collection::vec(any::<u8>(), 4..120),
        next in proptest::collection::vec(any::<u8>(), 0..40),
        spatial in 0..5u8, temporal in 0..5u8,
    ) {
        value[3] |= 0x80;
        let Ok(structure) = Structure::parse(&value) else { return Ok(()) };
        for value in [&value, &next] {
            let Ok(frame) = structure.frame(value) else { continue };
            let FrameInfo { needed, switches, .. } = frame.info;
            prop_assert!(frame.info.spatial < SIDE && frame.info.temporal < SIDE);
            prop_assert!(switches.without(needed).is_empty(), "whoever begins with it needs it");
            prop_assert!(!frame.info.key || frame.references == 0);
        }
        if let Some((out, len)) = restrict(&value, spatial, temporal) {
            // The frame's targets stay, and the bitmask stands there once.
            let after = Structure::parse(&out[..len]).unwrap();
            if let Ok(frame) = structure.frame(&value) {
                prop_assert_eq!(after.frame(&out[..len]), Ok(frame));
            }
            prop_assert_eq!(restrict(&out[..len], spatial, temporal), None);
        }
    }
}
