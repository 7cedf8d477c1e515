"""Packaging of mmlesion, see "Installation" in README.md."""

import os
import re
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
# Content of mmlesion/.mim, where `mim` and MMEngine search for it.
MIM_FILES = ('configs', 'tools', 'zoo', 'model-index.yml')


class BuildWithMim(build_py):
    """Copy configs and tools to the package's ``.mim`` folder.

    A wheel gets copies; an editable install gets links, so that an edited
    config is the one found by ``mmlesion::...``.
    """

    def run(self):
        """Build the package, then fill its ``.mim`` folder."""
        super().run()
        if self.editable_mode:
            mim = ROOT / 'mmlesion' / '.mim'
        else:
            mim = Path(self.build_lib) / 'mmlesion' / '.mim'
        mim.mkdir(parents=True, exist_ok=True)
        for name in MIM_FILES:
            source, target = ROOT / name, mim / name
            if not source.exists():
                continue
            if target.is_symlink() or target.is_file():
                target.unlink()
            elif target.is_dir():
                shutil.rmtree(target)
            if self.editable_mode:
                target.symlink_to(os.path.relpath(source, mim))
            elif source.is_dir():
                shutil.copytree(
                    source,
                    target,
                    ignore=shutil.ignore_patterns('__pycache__', '*.pyc'),
                )
            else:
                shutil.copy2(source, target)


def requirements(name):
    """Return the lines of ``requirements/<name>.txt`` without comments."""
    lines = (ROOT / 'requirements' / f'{name}.txt').read_text().splitlines()
    return [line for line in lines if line and not line.startswith('#')]


def version():
    """Return the version without importing the package."""
    scope = {}
    exec((ROOT / 'mmlesion' / 'version.py').read_text(), scope)
    return scope['__version__']


def citation(key):
    """A value of ``CITATION.cff``, an empty text where it has none."""
    text = (ROOT / 'CITATION.cff').read_text(encoding='utf-8')
    found = re.search(rf'^\s*-?\s*{key}: *(\S.*)$', text, flags=re.MULTILINE)
    return found[1].strip('\'" ') if found else ''


def long_description():
    """The README with links that hold outside the repository.

    Relative links become addresses in the repository that ``CITATION.cff`` names.
    Without one they become plain text, and relative pictures are left out.
    """
    text = (ROOT / 'README.md').read_text(encoding='utf-8')
    relative = r'\[([^\]]*)\]\((?!https?:|#|mailto:)([^)\s]+)\)'
    address = citation('repository-code').rstrip('/')
    if address:
        text = re.sub('!' + relative, rf'![\1]({address}/raw/main/\2)', text)
        return re.sub('(?<!!)' + relative, rf'[\1]({address}/blob/main/\2)', text)
    text = re.sub('!' + relative, r'*\1*', text)
    return re.sub(relative, r'\1', text)


setup(
    name='mmlesion',
    version=version(),
    author=citation('name'),
    url=citation('repository-code') or None,
    description='Lesion detection and weakly-supervised lesion maps in CT, '
    'as a plugin for OpenMMLab',
    long_description=long_description(),
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    license_files=['LICENSE'],
    keywords='computed tomography, lesion detection, DeepLesion, FROC, '
    'attention, OpenMMLab',
    classifiers=[
        'Development Status :: 4 - Beta',
        'Operating System :: POSIX :: Linux',
        'Programming Language :: Python :: 3',
        'Intended Audience :: Science/Research',
        'Programming Language :: Python :: 3.10',
        'Programming Language :: Python :: 3.11',
        'Programming Language :: Python :: 3.12',
        'Topic :: Scientific/Engineering :: Medical Science Apps.',
    ],
    entry_points={'console_scripts': ['mmlesion = mmlesion.cli:main']},
    packages=find_packages(include=['mmlesion', 'mmlesion.*']),
    package_data={
        'mmlesion': ['py.typed'],
        'mmlesion.scan.report': ['assets/*', 'niivue/*'],
    },
    python_requires='>=3.10,<3.13',
    # Neither torch nor an OpenMMLab distribution: installing this package
    # must not replace the ones that are there.
    install_requires=requirements('runtime'),
    extras_require={
        'torch': requirements('torch'),
        'headless': requirements('headless'),
        'scan': requirements('scan'),
        'onedl': requirements('onedl'),
        'openmmlab': requirements('openmmlab'),
        'test': requirements('test'),
        'docs': requirements('docs'),
    },
    cmdclass={'build_py': BuildWithMim},
    zip_safe=False,
)
