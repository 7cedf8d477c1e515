"""The page of a scan in a headless browser, and its content."""

import base64
import io
import json

import numpy as np
import pytest
from PIL import Image

from mmlesion.scan import report
from mmlesion.scan.report import list_page, scan_data

DIRECTIONS = ('mirrored', 'permuted', 'oblique')


def rows(page):
    """Ids of the findings in the table that are shown."""
    return page.eval_on_selector_all(
        '#findings tbody tr:not([hidden])', 'rows => rows.map(row => row.id)'
    )


def hu_at_crosshair(page):
    """What NiiVue itself reads from the image at its crosshair."""
    return page.evaluate('window.page.value')


@pytest.mark.parametrize('direction', DIRECTIONS)
def test_boxes_enclose_the_lesions_that_the_viewer_draws(
    direction, tmp_path, open_page, small_scan
):
    volume, result, maps = small_scan(direction)
    path = report.write_page(tmp_path / 'page', result, volume, maps, threshold=0.1)
    page = open_page(path)
    page.evaluate('window.page.viewer.nv.setInterpolation(true)')  # nearest voxel
    for number, expected_hu in ((1, 2000), (2, 2100)):
        page.click(f'#finding-{number}')
        page.wait_for_selector(f'#finding-{number}[aria-selected=true]')
        assert hu_at_crosshair(page) == expected_hu
        best = result.findings[number - 1]
        x, y, z = volume.grid.index_to_world((*best.box.center[:2], best.best_slice))
        place = f'L {x:.1f}  P {y:.1f}  S {z:.1f} mm'.replace('-0.0', '0.0')
        told = page.text_content('#readout-voxel').replace('-0.0', '0.0')
        assert place in told
        page.evaluate('window.page.viewer.setWindow([1000, 1001])')  # blocks white
        drawn = page.evaluate('window.page.viewer.drawn')
        drawn = {one['plane']: one['rectangle'] for one in drawn if one['id'] == number}
        assert sorted(drawn) == [0, 1, 2]
        pixels = page.evaluate(
            '(() => { const { nv } = window.page.viewer; nv.drawScene();'
            'return nv.canvas.toDataURL("image/png"); })()'
        )
        content = base64.b64decode(pixels.split(',')[1])
        picture = Image.open(io.BytesIO(content)).convert('L')
        white = np.asarray(picture) > 230
        for x, y, width, height in drawn.values():
            outer = 8
            x0, y0 = int(x) - outer, int(y) - outer
            region = white[
                max(0, y0) : int(y + height) + outer,
                max(0, x0) : int(x + width) + outer,
            ]
            found_y, found_x = np.where(region)
            edges = (found_x.min(), found_x.max() + 1, found_y.min(), found_y.max() + 1)
            left, top = x - max(0, x0), y - max(0, y0)
            # Interpolation between voxels moves an edge by up to half a voxel.
            expected = (left, left + width, top, top + height)
            assert np.abs(np.subtract(edges, expected)).max() < 1.1  # pixels


def rectangles(page):
    drawn = page.evaluate('window.page.viewer.drawn')
    return {(one['id'], one['plane']): one['rectangle'] for one in drawn}


@pytest.mark.parametrize('direction', DIRECTIONS)
@pytest.mark.parametrize('suffix', ['', '.html'])
def test_large_scans_are_shown_reduced_first(
    direction, suffix, tmp_path, open_page, small_scan, monkeypatch
):
    """Boxes and positions are the same; values are means at first."""
    monkeypatch.setattr(scan_data, '_FAST_VOXELS', 2000)
    volume, result, maps = small_scan(direction)
    volume.array = volume.array[:, :19].copy()  # incomplete blocks at the border
    path = report.write_page(tmp_path / f'page{suffix}', result, volume, maps)
    page = open_page(path)
    page.evaluate('window.page.viewer.nv.setInterpolation(true)')
    assert page.evaluate('window.page.viewer.reduction') == 2
    place = page.text_content('#readout-voxel').partition('HU')[2]
    reduced = rectangles(page)
    assert reduced and all(number == 1 for number, _ in reduced)
    page.evaluate('window.page.viewer.goTo([2, 18, 6])')
    mean = volume.array[6, 18:, 2:4].mean()
    assert hu_at_crosshair(page) == pytest.approx(mean, abs=0.51)
    assert page.text_content('#readout-voxel').startswith('≈')
    page.click('#finding-1')
    page.keyboard.press('f')
    page.wait_for_selector('#wait', state='hidden')
    assert page.evaluate('window.page.viewer.reduction') == 1
    assert not page.is_visible('#full')
    assert page.text_content('#readout-voxel').partition('HU')[2] == place
    full = rectangles(page)
    assert full.keys() == reduced.keys()
    for (number, plane), rectangle in full.items():
        # The border of incomplete blocks shifts the planes by up to half a voxel.
        voxel = full[1, 0][2] / 6 if direction != 'permuted' else full[1, 2][2] / 6
        assert rectangle == pytest.approx(reduced[number, plane], abs=0.6 * voxel)
    page.evaluate('window.page.viewer.goTo([2, 18, 6])')
    assert hu_at_crosshair(page) == volume.array[6, 18, 2]


@pytest.mark.parametrize('direction', ('axial', *DIRECTIONS))
def test_key_slice_and_its_box(direction, small_scan):
    """The block is inside the box; the left of the patient is on the right."""
    volume, result, _ = small_scan(direction)
    volume.spacing_mm = (2.5, 1.0, 0.5)
    content = report.page_content(result, volume, {}, 0.1, 'bone')
    for each, hu in zip(content['findings'], (2000, 2100)):
        picture = each['picture']
        pixels = Image.open(io.BytesIO(base64.b64decode(picture['data'])))
        white = np.asarray(pixels) > 200
        height, width = white.shape
        assert np.allclose(
            picture['sides_mm'][0] / picture['sides_mm'][1], 12 / 20
        ) or (np.allclose(picture['sides_mm'][0] / picture['sides_mm'][1], 20 / 12))
        y, x = np.where(white)
        expected = (x.min(), y.min(), x.max() + 1, y.max() + 1)
        left, top, across, down = picture['box']
        box = (left * width, top * height, (left + across) * width)
        assert np.allclose((*box, (top + down) * height), expected, atol=1e-6)
        assert volume.array[each['slice'] - 1].max() == hu
    first, second = (each['picture']['box'] for each in content['findings'])
    centers = np.array([each.center_mm for each in result.findings])
    step = centers[1] - centers[0]  # LPS
    across, down = np.sign([second[0] - first[0], second[1] - first[1]])
    if direction == 'permuted':  # sagittal slices: back on the right, head at the top
        assert (across, down) == (np.sign(step[1]), -np.sign(step[2]))
    else:
        assert (across, down) == (np.sign(step[0]), np.sign(step[1]))


def test_findings_and_key_slices_are_shown_before_the_viewer(
    tmp_path, browser, small_scan
):
    volume, result, maps = small_scan()
    path = report.write_page(tmp_path / 'page', result, volume, maps, window='bone')
    (tmp_path / 'page/assets/niivue.umd.js').unlink()
    page = browser.new_page(viewport=dict(width=1280, height=800))
    page.goto(path.resolve().as_uri())
    page.wait_for_selector('body[data-usable=true]', timeout=60_000)
    page.fill('#threshold', '0.2')
    assert rows(page) == ['finding-1', 'finding-2']
    assert page.text_content('#readout-slice') == 'Slice 5 / 16'
    box = page.locator('#picture i').bounding_box()
    page.add_style_tag(content='i, .wait, .readout { visibility: hidden }')
    pixels = Image.open(io.BytesIO(page.screenshot())).convert('L')
    stage = page.locator('#picture figure').bounding_box()
    left, top = int(stage['x']) + 1, int(stage['y']) + 1
    white = np.asarray(pixels)[
        top : top + int(stage['height']) - 2, left : left + int(stage['width']) - 2
    ]
    y, x = np.where(white > 127)  # edge between background and block
    edges = (x.min() + left, y.min() + top, x.max() - x.min(), y.max() - y.min())
    expected = (box['x'], box['y'], box['width'], box['height'])
    voxel = stage['width'] / 24
    assert np.abs(np.subtract(edges, expected)).max() < 0.2 * voxel
    page.keyboard.press('n')  # has a score below the initial threshold: no key slice
    assert page.text_content('#readout-slice') == 'Slice 11 / 16'
    assert not page.is_visible('#picture')
    page.wait_for_selector(
        '#wait:has-text("niivue.umd.js is missing")', state='attached'
    )
    page.keyboard.press('ArrowUp')  # the viewer's keys wait for the viewer
    assert page.get_attribute('body', 'data-ready') is None
    page.close()


def test_labels_are_shown_if_they_differ(tmp_path, browser, small_scan):
    volume, result, maps = small_scan()
    page = browser.new_page()
    for name, shown in (('lesion', False), ('pleural_thickening', True)):
        result.findings[1].label = name
        path = report.write_page(tmp_path / f'{name}.html', result, volume, maps)
        page.goto(path.resolve().as_uri())
        page.wait_for_selector('body[data-usable=true]', timeout=60_000)
        assert page.is_visible('#label-head') is shown
        text = page.text_content('#finding-2')
        assert ('pleural thickening' in text) is shown and 'lesion' not in text
    page.close()


def test_scrolling_by_keys_and_wheel_moves_through_the_slices(
    tmp_path, open_page, small_scan
):
    volume, result, maps = small_scan()
    page = open_page(report.write_page(tmp_path / 'page', result, volume, maps))
    page.evaluate('window.page.viewer.goTo([2, 3, 6])')
    assert hu_at_crosshair(page) == volume.array[6, 3, 2]
    page.keyboard.press('ArrowUp')
    assert hu_at_crosshair(page) == volume.array[7, 3, 2]
    page.keyboard.press('ArrowRight')
    assert hu_at_crosshair(page) == volume.array[7, 3, 3]
    page.keyboard.press('Shift+ArrowLeft')
    assert hu_at_crosshair(page) == volume.array[7, 2, 3]
    page.keyboard.press('PageDown')
    assert page.text_content('#readout-slice') == 'Slice 1 / 16'
    page.evaluate('window.page.viewer.goTo([2, 3, 6])')
    page.mouse.move(300, 400)  # over the axial plane
    page.mouse.wheel(0, 120)
    page.wait_for_function('window.page.viewer.position()[2] !== 6')
    assert hu_at_crosshair(page) in volume.array[[5, 7], 3, 2]


def test_slider_filters_findings_and_tells_expected_false_positives(
    tmp_path, open_page, small_scan
):
    volume, result, maps = small_scan()  # scores 0.7 and 0.4
    page = open_page(report.write_page(tmp_path / 'one.html', result, volume, maps))
    assert rows(page) == ['finding-1']
    # At 0.5 the curve has its point of score 0.5.
    assert '1.00 false positives per scan' in page.text_content('#expected')
    page.fill('#threshold', '0.2')
    assert rows(page) == ['finding-1', 'finding-2']
    assert page.evaluate('window.page.viewer.marks.length') == 2
    assert '4.00 false positives' in page.text_content('#expected')
    assert 'sensitivity 90 %' in page.text_content('#expected')
    page.fill('#threshold', '0.9')
    assert rows(page) == []
    assert page.is_visible('#none')


def test_overlays_toggle_and_windows_change(tmp_path, open_page, small_scan):
    volume, result, maps = small_scan()
    page = open_page(report.write_page(tmp_path / 'page', result, volume, maps))

    def painted():
        return page.evaluate(
            '(() => { const layer = document.getElementById("layer");'
            'const data = layer.getContext("2d").getImageData(0, 0, layer.width, '
            'layer.height).data;'
            'return data.filter((value, n) => n % 4 === 3 && value > 0).length; })()'
        )

    both = painted()
    page.click('#overlay-box')
    outline = painted()
    assert 0 < outline < both
    page.keyboard.press('o')
    assert painted() == 0
    page.keyboard.press('s')
    assert painted() > both  # the map covers the whole axial slice
    assert page.is_visible('#opacity')
    assert not page.query_selector('#overlay-attention')  # no such map
    page.click('#window-1')
    assert page.text_content('#readout-window') == 'W 400  L 40'
    assert page.get_attribute('#window-1', 'aria-pressed') == 'true'
    page.keyboard.press('4')
    assert page.evaluate('window.page.viewer.nv.volumes[0].cal_min') == -10
    page.fill('#opacity', '0')
    assert painted() == 0  # of the map; box and outline are off


def test_everything_is_reached_by_keyboard(tmp_path, open_page, small_scan):
    volume, result, maps = small_scan()
    page = open_page(
        report.write_page(tmp_path / 'page', result, volume, maps, threshold=0.1)
    )

    def selected():
        return page.eval_on_selector_all(
            '#findings [aria-selected=true]', 'rows => rows.map(row => row.id)'
        )

    assert selected() == ['finding-1']
    for key, number in (('n', 2), ('n', 1), ('p', 2)):
        page.keyboard.press(key)
        page.wait_for_selector(f'#finding-{number}[aria-selected=true]')
    assert hu_at_crosshair(page) == 2100
    for _ in range(40):  # Tab reaches the buttons of the table
        page.keyboard.press('Tab')
        if page.evaluate('document.activeElement.className') == 'jump':
            break
    # The first button or that of the selected row: Chromium 150 starts at the row
    number = int(page.evaluate('document.activeElement.textContent'))
    if number == 2:
        page.keyboard.press('n')
        page.wait_for_selector('#finding-1[aria-selected=true]')
    page.keyboard.press('Enter')
    page.wait_for_selector(f'#finding-{number}[aria-selected=true]')
    assert hu_at_crosshair(page) == (2000 if number == 1 else 2100)
    page.keyboard.press(']')
    assert page.text_content('#threshold-value') == '0.11'
    background = 'getComputedStyle(document.body).backgroundColor'
    before = page.evaluate(background)
    page.keyboard.press('t')
    assert page.evaluate(background) != before
    page.keyboard.press('l')
    assert page.get_attribute('#layout-axial', 'aria-pressed') == 'true'
    page.keyboard.press('?')
    assert page.is_visible('#help')
    page.keyboard.press('Escape')
    assert not page.is_visible('#help')


def test_colors_follow_the_system(tmp_path, open_page, small_scan):
    volume, result, maps = small_scan()
    path = report.write_page(tmp_path / 'one.html', result, volume, maps)
    light, dark = (
        open_page(path, color_scheme=scheme).evaluate(
            'getComputedStyle(document.body).backgroundColor'
        )
        for scheme in ('light', 'dark')
    )
    assert sum(map(int, light[4:-1].split(','))) > 600
    assert sum(map(int, dark[4:-1].split(','))) < 150


def test_page_of_a_phone_needs_no_sideways_scrolling(tmp_path, open_page, small_scan):
    volume, result, maps = small_scan()
    path = report.write_page(tmp_path / 'page', result, volume, maps)
    page = open_page(path, viewport=dict(width=360, height=740), has_touch=True)
    assert page.evaluate('document.documentElement.scrollWidth') <= 360
    assert page.evaluate('document.getElementById("gl").clientHeight') > 300


def test_list_sorts_filters_and_opens(tmp_path, open_page, small_scan):
    volume, result, _ = small_scan()
    for name, scores in (('a', [0.6, 0.55]), ('b', [0.9]), ('c', [])):
        for number, score in enumerate(scores):
            result.findings[number].score = score
        content = result.to_dict()
        content['findings'] = content['findings'][: len(scores)]
        folder = tmp_path / name
        report.write_page(folder / 'report', result, volume, back='../../index.html')
        (folder / 'findings.json').write_text(json.dumps(content))
        best = result.findings[0] if scores else None
        list_page.write_thumbnail(folder / 'thumbnail.png', volume, best)
    (tmp_path / 'failures.csv').write_text('name,scan,reason\nd,/x/d,<b> is damaged\n')
    page = open_page(report.write_list_page(tmp_path))
    assert page.text_content('#failures') == 'd: <b> is damaged'

    def order():
        return page.eval_on_selector_all('#scans tbody a', 'a => a.map(b => b.text)')

    assert order() == ['b', 'a', 'c']  # by the best score
    widths = page.eval_on_selector_all(
        '#scans img', 'all => all.map(i => i.naturalWidth)'
    )
    assert widths == [144, 144, 144]
    page.click('th >> text=Findings')
    assert order() == ['a', 'b', 'c']
    page.click('th >> text=Scan')
    assert order() == ['a', 'b', 'c']
    page.fill('#threshold', '0.7')
    assert page.text_content('#subtitle') == '3 scans, 1 finding'
    page.click('#scans a >> text="b"')
    page.wait_for_selector('body[data-ready=true] #back:not([hidden])', timeout=60_000)
    assert page.text_content('h1') == 'CT scan'
    # One click from the list to the lesion
    assert page.get_attribute('#finding-1', 'aria-selected') == 'true'
    assert hu_at_crosshair(page) == 2000


def test_everything_of_one_file_is_inside_and_the_title_is_escaped(
    tmp_path, small_scan
):
    volume, result, maps = small_scan()
    path = tmp_path / 'one.html'
    report.write_page(path, result, volume, maps, title='<b>"x"</b>')
    text = path.read_text()
    assert '<title>&lt;b&gt;&quot;x&quot;&lt;/b&gt;</title>' in text
    assert '<script src' not in text and '<link rel="stylesheet"' not in text
    assert 'BSD 2-Clause License' in text
    assert sorted(each.name for each in tmp_path.iterdir()) == ['one.html']


def test_thumbnail_shows_the_slice_with_the_box(tmp_path, small_scan):
    volume, result, _ = small_scan()
    list_page.write_thumbnail(tmp_path / 'a.png', volume, result.findings[0])
    picture = np.asarray(Image.open(tmp_path / 'a.png').convert('RGB')).astype(int)
    assert picture.shape == (120, 144, 3)
    yellow = (picture[..., 0] - picture[..., 2]) > 60
    y, x = np.where(yellow)
    # Voxels 5 to 10 and 4 to 8, six pixels each.
    assert (x.min(), x.max(), y.min(), y.max()) == (30, 65, 24, 53)


@pytest.mark.parametrize(
    'around_hu, name', [(-850, 'lung'), (40, 'soft tissue'), (None, 'lung')]
)
def test_initial_window_is_that_of_the_first_finding(
    around_hu, name, tmp_path, small_scan
):
    volume, result, maps = small_scan('mirrored')
    if around_hu is None:
        result.findings, maps = [], {}
    else:
        best = result.findings[0]
        (z0, y0, x0), (z1, y1, x1) = np.rint(best.box.to_volume(volume)).astype(int)
        around = slice(max(z0 - 2, 0), z1 + 3), slice(y0 - 2, y1 + 3), slice(x0, x1 + 3)
        volume.array[around] = around_hu
        volume.array[z0 + 1 : z1, y0 + 1 : y1, x0 + 1 : x1] = 30
    path = report.write_page(tmp_path, result, volume, maps)
    script = (path.parent / 'scan.js').read_text()
    content = json.loads(script.removeprefix('window.SCAN = ').removesuffix(';'))
    assert report.WINDOWS[content['window']] == name


def test_unknown_windows_and_maps_are_errors(tmp_path, small_scan):
    volume, result, maps = small_scan()
    with pytest.raises(ValueError, match="but got 'brain'"):
        report.write_page(tmp_path / 'a.html', result, volume, window='brain')
    maps[2]['grad_cam'] = maps[2].pop('score_map')
    with pytest.raises(ValueError, match="but finding 2 has 'grad_cam'"):
        report.write_page(tmp_path / 'a.html', result, volume, maps)
