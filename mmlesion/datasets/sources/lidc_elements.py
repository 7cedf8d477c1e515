"""Parser of the XML elements of LIDC-IDRI without entities."""

from xml.etree import ElementTree
from xml.parsers import expat

from mmlesion.files import check_limit

# Elements that may occur in readings. Other elements raise an error.
_CHILDREN = {
    'readingSession': {
        'annotationVersion',
        'servicingRadiologistID',
        'unblindedReadNodule',
        'nonNodule',
    },
    'unblindedReadNodule': {'noduleID', 'characteristics', 'roi'},
    'roi': {'imageZposition', 'imageSOP_UID', 'inclusion', 'edgeMap'},
    'edgeMap': {'xCoord', 'yCoord'},
}


class _PrologEndError(Exception):
    pass


def parse_xml(content: bytes, source: str) -> ElementTree.Element:
    """Parse a file and return its root element.

    Args:
        content: Content of the file.
        source: Name of the file in messages.

    Raises:
        ValueError: If the XML is broken or too large, or has a document type
            declaration.
    """
    check_limit(len(content) / 2**20, 'XML_MIB', f'{source}: the XML')
    try:
        doctype_line = _find_doctype(content)
        if not doctype_line:
            return ElementTree.fromstring(content)
    except (expat.ExpatError, ElementTree.ParseError) as error:
        from_tree = isinstance(error, ElementTree.ParseError)
        line = error.position[0] if from_tree else error.lineno
        raise ValueError(
            f'{source}: line {line}: the XML is malformed or truncated '
            f'({expat.ErrorString(error.code)})'
        ) from None
    except (LookupError, ValueError):  # unknown encoding in the declaration
        raise ValueError(
            f'{source}: line 1: the XML declares an encoding that cannot be read'
        ) from None
    raise ValueError(
        f'{source}: line {doctype_line}: a document type '
        'declaration is not allowed in an XML of LIDC-IDRI'
    )


def _find_doctype(content: bytes) -> int:
    """Return the line of the document type declaration, or 0.

    It can only occur before the root element, and only it can define entities.
    """
    parser, lines = expat.ParserCreate(), []

    def stop(*_) -> None:
        raise _PrologEndError

    def note(*_) -> None:
        lines.append(parser.CurrentLineNumber)
        raise _PrologEndError

    parser.StartElementHandler, parser.StartDoctypeDeclHandler = stop, note
    try:
        parser.Parse(content, True)
    except _PrologEndError:
        pass
    return lines[0] if lines else 0


def integer(parent: ElementTree.Element, name: str, where: str) -> int:
    """Return the whole number in a child element."""
    text = text_of(parent, name)
    # int() alone would also accept '1_0' and digits of other scripts.
    if not (text.isascii() and text.isdecimal() and len(text) < 10):
        raise ValueError(f'{where}: {name} must be a whole number, but is {text!r}')
    return int(text)


def name_of(element: ElementTree.Element) -> str:
    """Return the name of an element without its namespace."""
    return element.tag.rpartition('}')[2]


def check_elements(root: ElementTree.Element, source: str) -> None:
    """Check for unknown elements, which would otherwise be lost silently.

    Raises:
        ValueError: If the namespace of an element differs from the root, or it is
            unknown at this position.
    """
    namespace = root.tag[: root.tag.find('}') + 1]
    for element in root.iter():
        if not element.tag.startswith(namespace) or '}' in _after(element, namespace):
            raise ValueError(
                f'{source}: the element {name_of(element)} is in another namespace '
                f'({element.tag[: element.tag.find("}") + 1] or "none"}) than the '
                f'root ({namespace or "none"})'
            )
        known = _CHILDREN.get(name_of(element))
        if not known:
            continue
        for child in element:
            if name_of(child) not in known:
                raise ValueError(
                    f'{source}: {name_of(element)} has an element {name_of(child)}; '
                    f'expected {", ".join(sorted(known))}'
                )


def _after(element: ElementTree.Element, namespace: str) -> str:
    return element.tag[len(namespace) :]


def _in_namespace(parent: ElementTree.Element, name: str) -> str:
    return parent.tag[: parent.tag.find('}') + 1] + name


def children(parent: ElementTree.Element, name: str) -> list[ElementTree.Element]:
    """Return the child elements with a name."""
    return parent.findall(_in_namespace(parent, name))


def child(parent: ElementTree.Element, name: str) -> ElementTree.Element | None:
    """Return the first child element with a name, or None."""
    return parent.find(_in_namespace(parent, name))


def text_of(parent: ElementTree.Element | None, name: str) -> str:
    """Return the text of a child element, or an empty string."""
    if parent is None:
        return ''
    return (parent.findtext(_in_namespace(parent, name)) or '').strip()
