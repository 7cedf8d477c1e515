"""Properties of readers on generated input: no damage is read, no name leaves."""

import math
import multiprocessing
import os
import random
from concurrent.futures import ProcessPoolExecutor

import pytest

pytest.importorskip('hypothesis', reason='generates the inputs')
from hypothesis import HealthCheck, given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

pytest.importorskip('benchmarks', reason='run from the project root')
from benchmarks.faults.inputs import OUTCOMES, run_inputs  # noqa: E402
from benchmarks.faults.mutations import mutate  # noqa: E402
from mmlesion.ct import decode_png_hu  # noqa: E402
from mmlesion.datasets.sources.lidc_xml import parse_lidc_xml  # noqa: E402
from mmlesion.files import is_file_name, path_in, plain_json  # noqa: E402

quick = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@quick
@given(st.text(max_size=40))
def test_no_name_leads_out_of_its_folder(tmp_path, name):
    if not is_file_name(name):
        with pytest.raises(ValueError):
            path_in(tmp_path, name)
        return
    path = os.path.abspath(path_in(tmp_path, name, '.json'))
    assert os.path.dirname(path) == str(tmp_path)


@quick
@given(st.binary(max_size=400))
def test_any_bytes_are_refused_as_a_picture_and_as_xml(content):
    with pytest.raises(ValueError):
        decode_png_hu(content, 'a.png')
    with pytest.raises(ValueError):
        parse_lidc_xml(content, 'a.xml')


@quick
@given(
    st.recursive(
        st.floats() | st.integers() | st.text(max_size=5) | st.none(),
        lambda each: (
            st.lists(each, max_size=3)
            | st.dictionaries(st.text(max_size=3), each, max_size=3)
        ),
        max_leaves=8,
    )
)
def test_json_holds_no_nan(content):
    def leaves(value):
        if isinstance(value, dict):
            value = list(value.values())
        if isinstance(value, list):
            return [leaf for each in value for leaf in leaves(each)]
        return [value]

    for leaf in leaves(plain_json(content)):
        assert not isinstance(leaf, float) or math.isfinite(leaf)


def test_damage_depends_on_the_seed_alone():
    content = bytes(range(256)) * 20
    one, other = (mutate(content, random.Random(3), True) for _ in range(2))
    assert one == other != mutate(content, random.Random(4), True)


@pytest.mark.skipif(not hasattr(os, 'fork'), reason='the campaign forks')
def test_a_short_campaign_finds_nothing():
    # The inputs are read in forked processes, and this process may have threads
    with ProcessPoolExecutor(1, multiprocessing.get_context('spawn')) as pool:
        counts, failures = pool.submit(
            run_inputs, seed=0, deadline=math.inf, most=102, batch=2
        ).result()
    assert sum(count.total() for count in counts.values()) == 102
    assert len(counts) > 45
    assert not failures, '\n'.join(failures)
    assert sum(count[OUTCOMES[0]] for count in counts.values()) > 60
