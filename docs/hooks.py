"""MkDocs hooks for pages from files outside ``docs/`` and for external links."""

import posixpath
import re
from pathlib import Path

from mkdocs.structure.files import File

ROOT = Path(__file__).resolve().parents[1]
#: Pages of the site that are files of the repository.
PAGES = {
    'data.md': 'data/README.md',
    'contributing.md': 'CONTRIBUTING.md',
    'changelog.md': 'CHANGELOG.md',
}
LINK = re.compile(r'(!?)\[([^\]]*)\]\((?!https?:|#|mailto:)([^)\s#]+)(#[^)\s]*)?\)')


def on_files(files, config):
    """Add the pages whose files are outside the folder ``docs``."""
    for page, source in PAGES.items():
        text = (ROOT / source).read_text(encoding='utf-8')
        files.append(File.generated(config, page, content=text))
    sources = [
        path.read_text(encoding='utf-8')
        for path in sorted((ROOT / 'configs').glob('*/README.md'))
    ]
    text = '# Papers and configs\n\n' + '\n\n'.join(
        re.sub('^#', '##', source, flags=re.MULTILINE) for source in sources
    )
    files.append(File.generated(config, 'papers.md', content=text))
    return files


def on_page_markdown(markdown, page, config, files):
    """Turn links to files that are no pages into plain text."""
    source = PAGES.get(page.file.src_uri, 'docs/' + page.file.src_uri)
    to_page = {file: name for name, file in PAGES.items()}

    def resolve(match):
        picture, text, target, anchor = match.groups()
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
        name = to_page.get(path) or path.removeprefix('docs/')
        if files.get_file_from_path(name) is None:
            return text if not picture else ''
        start = posixpath.dirname(page.file.src_uri) or '.'
        return f'{picture}[{text}]({posixpath.relpath(name, start)}{anchor or ""})'

    return LINK.sub(resolve, markdown)
