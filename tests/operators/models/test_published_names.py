"""The keys of published files, spelled out from short patterns, against the keys of our networks.

Nothing but this page is needed. That the pages of keys that were read from the published code say
the same is tested beside each network.
"""

import re
from typing import Any

import pytest
import torch
from torch import Tensor

from operators.models import registry
from operators.models.entry import resolve
from operators.models.registry import Kind

PLAIN = "{weight,bias}"
NORM = "{weight,bias,running_mean,running_var,num_batches_tracked}"
UNUSED_NORM = "{running_mean,running_var,num_batches_tracked}"

_RAFT_UPDATE = f"update_block.{{flow_head.conv{{1,2}},mask.{{0,2}}}}.{PLAIN}"
_DEEPFILL_STAGE = "conv{1,2_downsample,3,4_downsample,5,6,{7..10}_atrous}"
_INCEPTION_5 = "5{b,c,d}.branch{1x1,5x5_1,5x5_2,3x3dbl_1,3x3dbl_2,3x3dbl_3,_pool}"
_INCEPTION_6 = "6{b..e}.branch{1x1,7x7_1,7x7_2,7x7_3,7x7dbl_{1..5},_pool}"
_INCEPTION_7 = "7{b,c}.branch{1x1,3x3_1,3x3_2a,3x3_2b,3x3dbl_1,3x3dbl_2,3x3dbl_3a,3x3dbl_3b,_pool}"

# Model, what its file is called here, number of tensors in the file, patterns of its keys. A "/"
# parts the name of one of several state dicts from the key in it.
FILES: tuple[tuple[Kind, str, str, int, tuple[str, ...]], ...] = (
    (
        "interpolator",
        "super-slomo",
        "authors",
        92,
        (
            f"state_dict{{FC,AT}}/conv{{1..3}}.{PLAIN}",
            f"state_dict{{FC,AT}}/{{down,up}}{{1..5}}.conv{{1,2}}.{PLAIN}",
        ),
    ),
    (
        "flow",
        "pwcnet",
        "sniklaus",
        126,
        (
            f"moduleExtractor.module{{One,Two,Thr,Fou,Fiv,Six}}.{{0,2,4}}.{PLAIN}",
            f"module{{Two,Thr,Fou,Fiv,Six}}.module{{One,Two,Thr,Fou,Fiv,Six}}.0.{PLAIN}",
            f"module{{Two,Thr,Fou,Fiv}}.module{{Upflow,Upfeat}}.{PLAIN}",
            f"moduleRefiner.moduleMain.{{0,2,4,6,8,10,12}}.{PLAIN}",
        ),
    ),
    (
        "flow",
        "pwcnet",
        "NVlabs",
        128,
        (
            f"conv{{1..6}}{{a,aa,b}}.0.{PLAIN}",
            f"conv{{2..6}}_{{0..4}}.0.{PLAIN}",
            f"{{predict_flow{{2..6}},deconv{{2..6}},upfeat{{3..6}},dc_conv7}}.{PLAIN}",
            f"dc_conv{{1..6}}.0.{PLAIN}",
        ),
    ),
    (
        "flow",
        "raft-large",
        "authors",
        179,
        (
            f"{{fnet,cnet}}.conv{{1,2}}.{PLAIN}",
            f"{{fnet,cnet}}.layer{{1..3}}.{{0,1}}.conv{{1,2}}.{PLAIN}",
            f"{{fnet,cnet}}.layer{{2,3}}.0.downsample.0.{PLAIN}",
            f"cnet.{{norm1,layer{{1..3}}.{{0,1}}.norm{{1,2}}}}.{NORM}",
            f"cnet.layer{{2,3}}.0.{{norm3,downsample.1}}.{NORM}",
            f"update_block.encoder.{{convc1,convc2,convf1,convf2,conv}}.{PLAIN}",
            f"update_block.gru.conv{{z,r,q}}{{1,2}}.{PLAIN}",
            _RAFT_UPDATE,
        ),
    ),
    (
        "flow",
        "raft-large",
        "torchvision",
        169,
        (
            f"{{feature,context}}_encoder.{{convnormrelu.0,conv}}.{PLAIN}",
            f"{{feature,context}}_encoder.layer{{1..3}}.{{0,1}}.convnormrelu{{1,2}}.0.{PLAIN}",
            f"{{feature,context}}_encoder.layer{{2,3}}.0.downsample.0.{PLAIN}",
            f"context_encoder.{{convnormrelu,layer{{2,3}}.0.downsample}}.1.{NORM}",
            f"context_encoder.layer{{1..3}}.{{0,1}}.convnormrelu{{1,2}}.1.{NORM}",
            f"update_block.motion_encoder.conv{{corr1,corr2,flow1,flow2,}}.0.{PLAIN}",
            f"update_block.recurrent_block.convgru{{1,2}}.conv{{z,r,q}}.{PLAIN}",
            f"{{update_block.flow_head.conv{{1,2}},mask_predictor.{{convrelu.0,conv}}}}.{PLAIN}",
        ),
    ),
    (
        "flow",
        "raft-small",
        "authors",
        106,
        (
            f"{{fnet,cnet}}.conv{{1,2}}.{PLAIN}",
            f"{{fnet,cnet}}.layer{{1..3}}.{{0,1}}.conv{{1..3}}.{PLAIN}",
            f"{{fnet,cnet}}.layer{{2,3}}.0.downsample.0.{PLAIN}",
            f"update_block.encoder.{{convc1,convf1,convf2,conv}}.{PLAIN}",
            f"update_block.{{gru.conv{{z,r,q}},flow_head.conv{{1,2}}}}.{PLAIN}",
        ),
    ),
    (
        "flow",
        "gmflow",
        "authors",
        124,
        (
            "backbone.{conv1,layer{1..3}.{0,1}.conv{1,2},trident_conv}.weight",
            f"backbone.{{conv2,layer{{2,3}}.0.downsample.0}}.{PLAIN}",
            "transformer.layers.{0..5}.{self_attn,cross_attn_ffn}.{q_proj,k_proj,v_proj,merge}.weight",
            f"transformer.layers.{{0..5}}.{{self_attn,cross_attn_ffn}}.norm1.{PLAIN}",
            "transformer.layers.{0..5}.cross_attn_ffn.{mlp.{0,2}.weight,norm2.{weight,bias}}",
            f"{{feature_flow_attn.{{q_proj,k_proj}},upsampler.{{0,2}}}}.{PLAIN}",
        ),
    ),
    (
        "interpolator",
        "rife-3.9",
        "authors",
        190,
        (
            "block{0..3}.{conv0.{0,1},convblock.{0..7}}.{0.weight,0.bias,1.weight}",
            f"{{block{{0..3}}.lastconv,unet.conv}}.{PLAIN}",
            "{contextnet.conv{1..4},unet.down{0..3}}.conv{1,2}.{0.weight,0.bias,1.weight}",
            "unet.up{0..3}.{0.weight,0.bias,1.weight}",
        ),
    ),
    (
        "interpolator",
        "rife-4.6",
        "authors",
        4 * (4 + 24 + 2),
        (
            f"block{{0..3}}.{{conv0.{{0,1}}.0,convblock.{{0..7}}.conv,lastconv.0}}.{PLAIN}",
            "block{0..3}.convblock.{0..7}.beta",
        ),
    ),
    (
        "interpolator",
        "rife-4.25",
        "authors",
        5 * (4 + 24 + 2) + 8,
        (
            f"block{{0..4}}.{{conv0.{{0,1}}.0,convblock.{{0..7}}.conv,lastconv.0}}.{PLAIN}",
            "block{0..4}.convblock.{0..7}.beta",
            f"encode.cnn{{0..3}}.{PLAIN}",
        ),
    ),
    (
        "translator",
        "mosaic",
        "authors",
        62,
        (
            f"{{conv,deconv}}{{1..3}}.conv2d.{PLAIN}",
            f"{{in{{1..5}},res{{1..5}}.in{{1,2}},res{{1..5}}.conv{{1,2}}.conv2d}}.{PLAIN}",
        ),
    ),
    (
        "translator",
        "deepfill",
        "daa233",
        84,
        (
            f"{{coarse,fine}}_generator.{_DEEPFILL_STAGE}.conv.{PLAIN}",
            f"coarse_generator.conv{{11..17}}.conv.{PLAIN}",
            f"fine_generator.pmconv{{1,2_downsample,3,4_downsample,5,6,9,10}}.conv.{PLAIN}",
            f"fine_generator.allconv{{11..17}}.conv.{PLAIN}",
        ),
    ),
    (
        "recurrent",
        "lai",
        "with normalisation",
        89,
        (
            f"{{conv1a,conv1b,conv2a,conv2b,conv3,deconv{{1..3}}}}.conv2d.{PLAIN}",
            f"{{ResBlocks.{{0..4}}.conv{{1,2}}.conv2d,convlstm.Gates}}.{PLAIN}",
            f"{{conv1a,conv1b,conv2a,conv2b,conv3,deconv{{1,2}}}}.norm_layer.{UNUSED_NORM}",
            f"ResBlocks.{{0..4}}.conv{{1,2}}.norm_layer.{UNUSED_NORM}",
        ),
    ),
    (
        "recurrent",
        "lai",
        "without normalisation",
        21,
        (
            "{conv1a,conv1b,conv2a,conv2b,conv3,deconv{1,2}}.conv2d.weight",
            "ResBlocks.{0..4}.conv{1,2}.conv2d.weight",
            f"{{convlstm.Gates,deconv3.conv2d}}.{PLAIN}",
        ),
    ),
    (
        "recurrent",
        "vinet-256",
        "authors",
        166,
        (
            "encoder{1,2}.ec{0,1,2,3_1,3_2,4_1,4,5}.conv.weight",
            "{bottleneck.bt{0..3},decoder.dc{0,1,2_1,2_bt1,2_bt2,2_bt3,3_1,3_2,5}}.conv.weight",
            "{decoder.dc{1_1,2_2,4}.conv.1,decoder.dc6,st_agg{,_64,_128}.stAgg.conv}.weight",
            f"flownet{{,_64,_128,_256}}.flow_estimator.{{convs.{{0..4}}.0,conv1}}.{PLAIN}",
            f"flownet{{,_64,_128,_256}}.flow_estimator.convs_fine.convs.{{0..6}}.0.{PLAIN}",
            f"masknet{{,_64,_128,_256}}.convs.{{0.0,1.0,2}}.{PLAIN}",
            f"convlstm.Gates.{PLAIN}",
        ),
    ),
    (
        "evaluation",
        "lpips-alex",
        "whole",
        22,
        (
            f"net.slice{{1.0,2.3,3.6,4.8,5.10}}.{PLAIN}",
            "{lin{0..4},lins.{0..4}}.model.1.weight",
            "scaling_layer.{shift,scale}",
        ),
    ),
    (
        "evaluation",
        "inception-fid",
        "authors",
        566,
        (
            "Conv2d_{1a_3x3,2a_3x3,2b_3x3,3b_1x1,4a_3x3}.{conv.weight,bn." + NORM + "}",
            f"Mixed_{{{_INCEPTION_5},{_INCEPTION_6},{_INCEPTION_7}}}.{{conv.weight,bn.{NORM}}}",
            "Mixed_6a.branch{3x3,3x3dbl_{1..3}}.{conv.weight,bn." + NORM + "}",
            "Mixed_7a.branch{3x3_{1,2},7x7x3_{1..4}}.{conv.weight,bn." + NORM + "}",
            f"fc.{PLAIN}",
        ),
    ),
    (
        "evaluation",
        "i3d",
        "authors",
        344,
        (
            "Conv3d_{1a_7x7,2b_1x1,2c_3x3}.{conv3d.weight,bn." + NORM + "}",
            "Mixed_{3b,3c,4b,4c,4d,4e,4f,5b,5c}.b{0,1a,1b,2a,2b,3b}.{conv3d.weight,bn."
            + NORM
            + "}",
            f"logits.conv3d.{PLAIN}",
        ),
    ),
)


def spelled_out(pattern: str) -> list[str]:
    """``a{1..3}.{b,c}`` to ``a1.b``, ``a1.c``, ``a2.b`` and so on; braces may be nested."""
    innermost = re.search(r"\{([^{}]*)\}", pattern)
    if innermost is None:
        return [pattern]
    first, dots, last = innermost.group(1).partition("..")
    if not dots:
        choices = innermost.group(1).split(",")
    elif first.isdigit():
        choices = [str(number) for number in range(int(first), int(last) + 1)]
    else:
        choices = [chr(code) for code in range(ord(first), ord(last) + 1)]
    head, tail = pattern[: innermost.start()], pattern[innermost.end() :]
    return [key for choice in choices for key in spelled_out(f"{head}{choice}{tail}")]


def file_of(keys: list[str]) -> dict[str, Any]:
    """What a file with these keys holds: each a tensor of its own."""
    file: dict[str, Any] = {}
    for number, key in enumerate(keys):
        part, _, inner = key.rpartition("/")
        place = file.setdefault(part, {}) if part else file
        place[inner] = torch.full((1,), float(number))
    return file


@pytest.mark.parametrize(
    ("kind", "name", "number", "patterns"),
    [pytest.param(*row[:2], *row[3:], id=f"{row[1]} {row[2]}") for row in FILES],
)
@pytest.mark.parametrize("prefix", ["", "module."])
def test_the_keys_of_a_published_file_are_those_of_the_network_and_no_two_become_one(
    kind: Kind, name: str, number: int, patterns: tuple[str, ...], prefix: str
) -> None:
    keys = sorted({key for pattern in patterns for key in spelled_out(pattern)})
    assert len(keys) == number
    reference = registry.entry(kind, name).network
    assert reference is not None
    from_published = resolve(f"{reference.partition(':')[0]}:from_published")
    separated = [re.sub(r"^(.*/)?", rf"\g<0>{prefix}", key, count=1) for key in keys]

    found: dict[str, Tensor] = from_published(file_of(separated))

    own = resolve(reference)().state_dict()
    assert found.keys() == own.keys()
    given = [float(tensor) for tensor in found.values() if tensor.any()]
    assert len(given) == len(set(given))


def test_patterns_are_spelled_out_from_the_inside() -> None:
    assert spelled_out("a{1..2}.{b{x,y},c}") == [
        "a1.bx", "a1.c", "a1.by", "a1.c", "a2.bx", "a2.c", "a2.by", "a2.c"
    ]  # fmt: skip
