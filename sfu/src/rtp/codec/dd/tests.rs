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
