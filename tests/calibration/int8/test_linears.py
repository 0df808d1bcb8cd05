from zsad_calibration.int8.linears import find_linears


def test_the_linears_of_the_blocks_and_no_other(model):
    found = find_linears(model.graph)
    assert [(linear.layer, linear.out_axis, linear.size) for linear in found] == [
        ("vision.blocks.0.attn.in_proj", 1, 128),
        ("vision.blocks.0.attn.out_proj", 1, 64),
        ("vision.blocks.0.mlp.c_fc", 1, 192),
        ("vision.blocks.0.mlp.c_proj", 1, 192),
        ("vision.blocks.1.mlp.c_fc", 0, 40),
    ]
    assert {linear.block for linear in found} == {"vision.blocks.0", "vision.blocks.1"}


def test_a_shared_weight_is_one_linear_with_two_uses(model):
    (proj,) = (one for one in find_linears(model.graph) if one.layer.endswith("out_proj"))
    assert [call.tensor for call in proj.calls] == [
        "detector.vision.blocks.0/MatMul_2",
        "detector.vision.blocks.0/Split",
    ]


def test_weights_need_not_be_loaded(model):
    for weight in model.graph.initializer:
        weight.ClearField("raw_data")
    assert len(find_linears(model.graph)) == 5
