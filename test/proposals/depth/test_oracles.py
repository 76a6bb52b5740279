"""The fast parts of depth_clusters against slow ones that say plainly what is computed."""

import cv2
import numpy as np
import pytest
from proposals_scenes import Box, Cylinder, as_sensed, table, view

from ovseg_ros.core.camera.geometry import pixel_rays
from ovseg_ros.core.space import plane
from ovseg_ros.proposals.depth import clusters, fragments, panels, refine
from ovseg_ros.proposals.depth.depth_clusters import DepthClusters, DepthClustersOptions
from ovseg_ros.proposals.depth.outline import over_outline

FOUR = ((0, -1), (0, 1), (-1, 0), (1, 0))  # left, right, above, below: ties go to the first


def blobs(seed, shape=(40, 50), smooth=2.0, share=0.5):
    """(H, W) bool: random smooth patches, some of which touch the border."""
    noise = cv2.GaussianBlur(np.random.default_rng(seed).random(shape).astype(np.float32), (0, 0), smooth)
    return noise > np.quantile(noise, 1 - share)


def flood(open_pixels):
    """(H, W) int labels of 4-connected pieces by a stack, in the order of their first pixels."""
    labels, count = np.zeros(open_pixels.shape, int), 0
    for start in zip(*np.nonzero(open_pixels)):
        if labels[start]:
            continue
        count += 1
        labels[start], stack = count, [start]
        while stack:
            row, column = stack.pop()
            for down, right in FOUR:
                at = (row + down, column + right)
                inside = 0 <= at[0] < labels.shape[0] and 0 <= at[1] < labels.shape[1]
                if inside and open_pixels[at] and not labels[at]:
                    labels[at] = count
                    stack.append(at)
    return labels, count


def spread_slowly(labels, todo, depth, reach_m, steps):
    out = labels.copy()
    for _ in range(steps):
        ring = out.copy()
        for row, column in todo:
            best = reach_m * max(depth[row, column], 0.5)
            if ring[row, column]:
                continue
            for down, right in FOUR:
                at = (row + down, column + right)
                if not (0 <= at[0] < out.shape[0] and 0 <= at[1] < out.shape[1]) or not ring[at]:
                    continue
                gap = abs(float(depth[at]) - float(depth[row, column]))
                if gap < best:
                    best, out[row, column] = gap, ring[at]
    return out


def renumbered(labels):
    """Labels in the order of their first pixels, so that two labellings can be compared."""
    names = {0: 0}
    return np.array([names.setdefault(int(label), len(names)) for label in labels.ravel()])


@pytest.mark.parametrize("seed", range(4))
def test_connected_pieces(seed):
    open_pixels = blobs(seed, smooth=1.0)
    labels, count = clusters.connect(open_pixels, 6)
    expected, _ = flood(open_pixels)
    expected[np.bincount(expected.ravel())[expected] < 6] = 0
    np.testing.assert_array_equal(renumbered(labels), renumbered(expected))
    assert sorted(np.unique(labels[labels > 0])) == list(range(1, count + 1))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("steps", [1, 2, 30])
def test_spread(seed, steps):
    rng = np.random.default_rng(seed)
    inside = blobs(seed, share=0.7)
    labels = np.where(inside & blobs(seed + 50, smooth=1.0, share=0.4), rng.integers(1, 4, inside.shape), 0)
    labels = labels.astype(np.int32)
    depth = rng.uniform(0.3, 2.0, inside.shape).astype(np.float32)
    todo = np.argwhere(inside & (labels == 0))
    for z, reach in ((depth, 0.3), (None, 1.0)):
        fast = labels.copy()
        clusters.spread(fast, np.ravel_multi_index(todo.T, labels.shape), z, reach_m=reach, steps=steps)
        flat = np.ones_like(depth) if z is None else z
        np.testing.assert_array_equal(fast, spread_slowly(labels, todo, flat, reach, steps))
        assert (fast != labels).any()


def test_relabel_counts_what_it_writes():
    labels = np.random.default_rng(0).integers(0, 6, (20, 30)).astype(np.int32)
    table = np.array([0, 2, 2, 0, 4, 1])
    changed = labels.copy()
    areas = clusters.relabel(changed, table)
    np.testing.assert_array_equal(changed, table[labels])
    np.testing.assert_array_equal(areas[1:], np.bincount(changed.ravel())[1:])
    assert areas[0] == 0
    np.testing.assert_array_equal(clusters.relabel(np.zeros((3, 3), np.int32), np.array([0])), [0])


def jumps_slowly(depth, inside, jump_m, noise_m, focal_px):
    height, width = depth.shape
    use = inside & (depth > 0)
    inverse = np.where(use, 1 / np.where(use, depth, 1), 0).astype(np.float64)
    barrier = np.zeros(depth.shape, bool)
    for row, column in np.argwhere(use):
        for down, right in ((0, 1), (1, 0)):
            far = (row + down, column + right)
            if far[0] >= height or far[1] >= width or not use[far]:
                continue
            here, there = inverse[row, column], inverse[far]
            step = there - here
            least = [max(jump_m * i, 0.006) * i + 4 * noise_m for i in (here, there)]
            bends = []
            for at, bend in (
                ((row - down, column - right), lambda i, here=here, step=step: step - (here - i)),
                ((far[0] + down, far[1] + right), lambda i, there=there, step=step: step - (i - there)),
            ):
                if 0 <= at[0] < height and 0 <= at[1] < width and use[at]:
                    bends.append(abs(bend(inverse[at])))
            jump = min(bends, default=np.inf) > max(least)
            if abs(step) > least[0] and (
                jump or abs(step) > max(*least, clusters._STEEPEST / focal_px * max(here, there))
            ):
                barrier[(row, column) if step >= 0 else far] = False
                barrier[far if step < 0 else (row, column)] = True
    return barrier


@pytest.mark.parametrize("seed", range(12))
def test_depth_jumps(seed):
    rng = np.random.default_rng(seed)
    depth = np.where(blobs(seed, share=0.4), 1.0, 1.1) + rng.normal(0, 0.004, (40, 50))
    depth[rng.random(depth.shape) < 0.05] = 0
    depth = depth.astype(np.float32)
    inside = blobs(seed + 9, smooth=6.0, share=0.8)
    inside[-1] = inside[:, :2] = inside[:, -2:] = True  # a pair there has no neighbour beyond the image
    options = {"jump_m": 0.01, "noise_m": 0.0002, "focal_px": 50.0}
    fast = clusters.depth_jumps(depth, inside, **options)
    np.testing.assert_array_equal(fast, jumps_slowly(depth, inside, **options))
    assert 10 < fast.sum() < 0.5 * inside.sum()


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_closed_gaps(share):
    rng = np.random.default_rng(1)
    depth = rng.uniform(0.5, 3, (20, 30)).astype(np.float32)
    depth[rng.random(depth.shape) < share] = 0
    expected = depth.copy()
    for row, column in np.argwhere(depth == 0):
        around = depth[max(0, row - 1) : row + 2, max(0, column - 1) : column + 2]
        if (around > 0).any():
            expected[row, column] = around[around > 0].min()
    np.testing.assert_array_equal(clusters.close_gaps(depth), expected)


def test_heights_and_growth_of_an_image():
    frame, _ = view([], size_hw=(30, 40))
    m = np.array([0.1, 0.9, 0.6])
    found = plane.Plane(m, 0.002, 0.001, 1.0)
    rays = [pair.astype(np.float64) for pair in pixel_rays(frame.intrinsics, (30, 40))]
    z = frame.depth_m.astype(np.float64)
    points = np.stack([rays[0][None] * z, rays[1][:, None] * z, z], axis=-1)
    np.testing.assert_allclose(
        found.heights(frame.depth_m, frame.intrinsics), (1 - points @ m) / np.linalg.norm(m), atol=2e-6
    )
    far = np.maximum(z, 0.3)
    growth = (0.004 + 0.003 * far + 4 * 0.001 * far * far) / (0.007 + 4 * 0.001)
    np.testing.assert_allclose(found.scatter_at(frame.depth_m), 0.002 * growth, rtol=1e-6)
    np.testing.assert_allclose(plane.growth(z.ravel(), 0.001), growth.ravel(), rtol=1e-12)


def search_slowly(points, tolerances, rng):
    """As `_best_hypothesis`: every triple solved by itself, every point tried, the first of the best."""
    count, half = len(points), plane._HYPOTHESES // 2
    first = rng.integers(0, count, 2 * half)
    near, far = rng.integers(1, count // 6, (2, half)), rng.integers(1, count, (2, half))
    best, most = None, -1
    for start, two in zip(first, np.concatenate([near, far], axis=1).T):
        triple = points[[start, *((start + two) % count)]]
        if abs(np.linalg.det(triple)) <= 1e-9 * max(1e-9, np.abs(triple[:, 2]).prod()):
            continue
        m = np.linalg.solve(triple, np.ones(3))
        inliers = np.count_nonzero(np.abs(1 - points @ m) / np.linalg.norm(m) < tolerances)
        if np.linalg.norm(m) < 1e3 and inliers > most:
            best, most = m, inliers
    return best


def polish_slowly(m, points, grown, tolerance):
    """As `_polish`, without an end before its six rounds are over."""
    limit = tolerance
    for _ in range(6):
        chosen = np.abs(1 - points @ m) / np.linalg.norm(m) < limit * grown
        rows, weight = points[chosen] / grown[chosen, None], 1 / grown[chosen]
        m = np.linalg.solve(rows.T @ rows + 1e-9 * np.eye(3), rows.T @ weight)
        away = np.abs(1 - points[chosen] @ m) / np.linalg.norm(m)
        scatter = 1.4826 * np.median(away / grown[chosen])
        limit = min(limit, max(3.5 * scatter, 0.0015))
    return m, scatter


@pytest.mark.parametrize("seed", range(5))
def test_plane_search(seed):
    frame = as_sensed(view([Box((0.0, 0.0, 0.05), (0.3, 0.2, 0.1))], pitch_deg=25 + 10 * seed)[0], seed=seed)
    points, _ = plane._sample_points(frame.depth_m, frame.intrinsics)
    grown = plane.growth(points[:, 2], 0.001)
    rows = plane._homogeneous(points, grown)
    found = plane._best_hypothesis(points, rows / 0.011, np.random.default_rng(seed))
    expected = search_slowly(points, 0.011 * grown, np.random.default_rng(seed))
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    m, scatter = plane._polish(found, rows, 0.011)
    expected, expected_scatter = polish_slowly(found, points, grown, 0.011)
    np.testing.assert_allclose(m, expected, rtol=1e-8)
    assert scatter == pytest.approx(expected_scatter, rel=1e-6)


def outline_slowly(feet, on_plane, overhang_m):
    """The table's hull on a map of cells, widened by a disc, looked up for every point."""
    labels, _ = flood(on_plane)
    areas = np.bincount(labels.ravel())
    areas[0] = 0
    corners = feet[(areas > 0.1 * areas.max())[labels]]
    margin = overhang_m + 0.05
    low, extent = corners.min(axis=0) - margin, np.ptp(corners, axis=0) + 2 * margin
    cell = max(0.005, float(extent.max()) / 400)
    size = np.ceil(extent / cell).astype(int) + 1
    outline = np.zeros((size[1], size[0]), np.uint8)
    cv2.fillConvexPoly(outline, cv2.convexHull(((corners - low) / cell).astype(np.int32)), 1)
    reach = 2 * int(np.ceil(overhang_m / cell)) + 1
    outline = cv2.dilate(outline, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach)))
    cells = np.floor((feet - low) / cell).astype(int)
    within = ((cells >= 0) & (cells < size)).all(axis=-1)
    cells[~within] = 0
    looked_up = {}
    for name, kernel, change in (("sure", (3, 3), cv2.erode), ("possible", (3, 3), cv2.dilate)):
        changed = change(outline, np.ones(kernel, np.uint8))
        looked_up[name] = within & (changed[cells[..., 1], cells[..., 0]] > 0)
    return looked_up["sure"], looked_up["possible"]


@pytest.mark.parametrize("overhang_m", [0.0, 0.06, 0.2])
@pytest.mark.parametrize("roll_deg", [0.0, 30.0])
def test_outline_of_a_table_to_a_cell(overhang_m, roll_deg):
    ground = (table(0.3, -0.2, 0.3), Box((0.0, 0.0, -0.8), (8.0, 8.0, 0.02)))
    frame, _ = view(
        [Cylinder((0.1, 0.0, 0.0), 0.05, 0.1)], ground=ground, roll_deg=roll_deg, size_hw=(120, 160)
    )
    on_plane = np.abs(plane_of_table(frame).heights(frame.depth_m, frame.intrinsics)) < 0.003
    feet = plane_of_table(frame).feet(frame.depth_m, frame.intrinsics)
    on_plane[2:4, 2:4] = True  # a speck far off the table
    over = over_outline(feet, on_plane, overhang_m)
    sure, possible = outline_slowly(feet, on_plane, overhang_m)
    assert over[sure].all()
    assert not over[~possible].any()
    assert 0.02 < over.mean() < 0.9


def plane_of_table(frame):
    rng = np.random.default_rng(0)
    planes = plane.find_planes(
        frame.depth_m, frame.intrinsics, tolerance_m=0.007, pixel_noise_m=0.0, min_support=0.08, rng=rng
    )
    return plane.choose_support(planes)


def test_outline_of_no_table_leaves_nothing_out():
    feet = np.random.default_rng(0).random((6, 7, 2)).astype(np.float32)
    assert over_outline(feet, np.zeros((6, 7), bool), 0.1).all()


def scene_of_fragments(seed):
    """Labels, feet and heights of random patches; the view is from above, 2 mm a pixel."""
    labels, count = flood(blobs(seed, (80, 100), smooth=2.5, share=0.45))
    rng = np.random.default_rng(seed)
    feet = np.stack(np.meshgrid(np.arange(100), np.arange(80)), axis=-1).astype(np.float32) * 0.002
    feet += rng.normal(0, 0.0005, feet.shape).astype(np.float32)
    heights = rng.uniform(0, 0.1, (80, 100)).astype(np.float32)
    return labels.astype(np.int32), count, feet, heights


@pytest.mark.parametrize("seed", range(3))
def test_fragments_are_described_as_they_are(seed):
    labels, count, feet, heights = scene_of_fragments(seed)
    image = np.random.default_rng(seed).integers(0, 256, (*labels.shape, 3), np.uint8)
    found = fragments.describe(labels, count, feet, heights, image)
    described = {fragment.label: fragment for fragment in found}
    assert sorted(described) == [k for k in range(1, count + 1) if (labels == k).sum() >= 3]
    for label, fragment in described.items():
        rows, columns = np.nonzero(labels == label)
        few = len(rows) // 50
        ordered = np.sort(heights[rows, columns])
        assert fragment.pixels == len(rows)
        some = image[rows, columns][:: max(1, len(rows) // 200)]
        np.testing.assert_allclose(fragment.colour, some.mean(axis=0))
        assert tuple(fragment.box_xyxy) == (columns.min(), rows.min(), columns.max(), rows.max())
        assert (fragment.lowest_m, fragment.top_m) == (ordered[few], ordered[len(rows) - 1 - few])
        hull = cv2.convexHull(feet[rows, columns])
        assert fragment.area_m2 == pytest.approx(cv2.contourArea(hull), rel=1e-5)
        depth_in = [cv2.pointPolygonTest(hull, tuple(map(float, p)), True) for p in fragment.feet[:5]]
        within = fragments._depth_within(fragment.feet[:5], fragment.sides)
        np.testing.assert_allclose(within, depth_in, atol=1e-6)


def fill_slowly(labels, heights, limits, known):
    out = labels.copy()
    parts, count = flood(labels == 0)
    border = set(np.concatenate([parts[0], parts[-1], parts[:, 0], parts[:, -1]]).tolist())
    wanted = np.zeros(labels.shape, bool)
    for part in set(range(1, count + 1)) - border:
        hole = parts == part
        seen = hole & known
        if hole.sum() >= refine._LARGEST_HOLE * labels.size:
            continue
        if seen.sum() > 0.3 * hole.sum():
            mean = (heights[seen] / limits[seen]).mean()
            wanted |= hole & (refine._HOLE_HEIGHT < mean < refine._HOLE_TOP)
        else:
            wanted |= hole & (hole.sum() < refine._BLIND_HOLE * labels.size)
    return spread_slowly(out, np.argwhere(wanted), np.ones(labels.shape), 1.0, max(labels.shape))


GREY = np.full((60, 70, 3), 128, np.uint8)  # colour tells nothing


@pytest.mark.parametrize("seed", range(8))
def test_filled_holes(seed):
    rng = np.random.default_rng(seed)
    things = blobs(seed, (60, 70), smooth=1.5, share=0.7)
    labels = np.where(things, 1 + (np.arange(70) > 35), 0).astype(np.int32)
    limits = rng.uniform(0.002, 0.004, labels.shape).astype(np.float32)
    heights = limits * rng.uniform(-1.2, 2.0, labels.shape).astype(np.float32)
    known = blobs(seed + 100, labels.shape, smooth=1.5, share=0.7)
    filled = refine.fill_holes(GREY, labels, heights, limits, known)
    np.testing.assert_array_equal(filled, fill_slowly(labels, heights, limits, known))
    assert (filled != labels).any()
    no_holes = np.zeros_like(labels)
    np.testing.assert_array_equal(refine.fill_holes(GREY, no_holes, heights, limits, known), no_holes)


def refine_slowly(image, labels, heights, limits, known, band):
    """Pixel by pixel: which are in doubt, which side's colour is nearer, who changes."""
    height, width = labels.shape
    things = labels > 0
    rows, columns = np.nonzero(things)
    margin = band + 18
    top, left = max(0, rows.min() - margin), max(0, columns.min() - margin)

    def box(array, row, column, reach):
        return array[max(0, row - reach) : row + reach + 1, max(0, column - reach) : column + reach + 1]

    doubt = np.zeros(labels.shape, bool)
    for row, column in np.ndindex(labels.shape):
        h, limit = heights[row, column], limits[row, column]
        if things[row, column]:
            doubt[row, column] = h < np.float32(1.5) * limit or not known[row, column]
        elif known[row, column]:
            near = box(things, row, column, band).any()
            doubt[row, column] = near and np.float32(0.3) * limit < h <= limit
        else:
            doubt[row, column] = box(things, row, column, 2 * band + 2).any()
    coarse = image[top::2, left::2].astype(float)
    sides = [(side & ~doubt)[top::2, left::2] for side in (things, ~things)]
    leaves, joins = np.zeros(labels.shape, bool), np.zeros(labels.shape, bool)
    for row, column in np.argwhere(doubt):
        distances = []
        for side in sides:
            at = ((row - top) // 2, (column - left) // 2, 4)
            colours = box(coarse, *at)[box(side, *at)]
            away = np.linalg.norm(image[row, column] - colours.mean(axis=0)) if len(colours) > 1 else np.inf
            distances.append(away)
        ours, theirs = distances
        factor = 0.5 if known[row, column] else 1.0
        if things[row, column]:
            leaves[row, column] = theirs < factor * ours
            continue
        rows, columns = (
            np.clip(row + np.arange(-2, 3), 0, height - 1),
            np.clip(column + np.arange(-2, 3), 0, width - 1),
        )
        around = np.ix_(rows, columns)
        counted = ~things[around] & known[around]
        mean = (heights[around] / limits[around])[counted].mean() if counted.any() else 0.0
        raised = mean > refine._HOLE_HEIGHT and known[row, column] and ours < 2 * theirs
        joins[row, column] = ours < refine._LIKE and (ours < factor * theirs or raised)
    result = np.where(leaves, 0, labels)
    return spread_slowly(result, np.argwhere(joins), np.ones(labels.shape), 1.0, 2 * band + 3)


@pytest.mark.parametrize("side", [20, 22])
def test_a_hole_as_large_as_a_fifth_of_the_image_is_none(side):
    labels = np.zeros((45, 50), np.int32)  # 2250 pixels
    labels[5:40, 5:40] = 1
    labels[10 : 10 + side, 10 : 10 + side] = 0
    ones = np.ones(labels.shape, np.float32)
    filled = refine.fill_holes(np.zeros((*labels.shape, 3), np.uint8), labels, ones, ones, ones > 0)
    np.testing.assert_array_equal(filled, fill_slowly(labels, ones, ones, ones > 0))
    assert (filled != labels).any() == (side == 20)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("band", [1, 3])
def test_refined_edges(seed, band):
    rng = np.random.default_rng(seed)
    things = blobs(seed, (60, 70), smooth=4.0, share=0.3)
    if seed == 0:
        things[:30] = False  # the window around them does not begin at the image's corner
        things[:, :23] = False
    labels = np.where(things, 1 + (np.arange(70) > 35), 0).astype(np.int32)
    true = np.roll(things, 2, axis=1)  # colour says that the edge is elsewhere
    image = np.where(true[..., None], (90, 60, 60), (60, 75, 90)) + rng.normal(0, 8, (60, 70, 3))
    image = np.clip(image, 0, 255).astype(np.uint8)
    limits = rng.uniform(0.002, 0.004, labels.shape).astype(np.float32)
    heights = limits * np.where(things, 2.0, 0.3).astype(np.float32)
    heights *= rng.uniform(0.3, 2.0, labels.shape).astype(np.float32)
    known = rng.random(labels.shape) < (1.0 if seed == 1 else 0.9)
    refined = refine.refine_edges(image, labels, heights, limits, known, band_px=band)
    np.testing.assert_array_equal(refined, refine_slowly(image, labels, heights, limits, known, band))
    assert (refined != labels).sum() > 20


@pytest.mark.parametrize("seed", range(2))
def test_two_colours_of_a_wall(seed):
    bright = blobs(seed, (60, 70), smooth=8.0)
    image = np.where(bright[..., None], (190, 110, 50), (80, 100, 170))
    image = np.clip(image + np.random.default_rng(seed).normal(0, 25, image.shape), 0, 255).astype(np.uint8)
    groups = panels._two_colours(image, np.ones(bright.shape, bool))
    lab = cv2.cvtColor(cv2.blur(image, (3, 3)), cv2.COLOR_RGB2LAB)
    _, expected = cv2.threshold(lab[..., 2], 0, 1, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    expected = cv2.medianBlur(expected, 7).view(bool)
    agree = (groups == expected).mean()
    assert max(agree, 1 - agree) > 0.99


@pytest.mark.parametrize("count", [0, 1, 40])
def test_masks_of_labels(count):
    labels, _ = flood(blobs(3, (120, 160), smooth=1.5, share=0.4))
    labels = np.where(labels <= count, labels, 0).astype(np.int32)
    options = DepthClustersOptions(min_area=0.002, max_area=0.05)
    proposals = DepthClusters(options)._proposals(labels)
    areas = {k: int((labels == k).sum()) for k in range(1, labels.max() + 1)}
    kept = [k for k, area in areas.items() if 0.002 * labels.size <= area <= 0.05 * labels.size]
    masks = {mask.tobytes() for mask in proposals.masks.numpy()}
    assert masks == {(labels == k).tobytes() for k in kept}
    assert len(proposals) == len(kept)
    assert (np.diff(proposals.scores.numpy()) <= 0).all()
