"""Activation maps laid over the picture that the network saw."""
import cv2
import numpy as np

_TITLE_PX = 22


def overlay_map(picture, heat, opacity=0.5):
    """Colour a picture by a map: the stronger the map, the less picture.

    Args:
        picture (np.ndarray): Grey values of any range; the least becomes black,
            the largest white.
        heat (np.ndarray): Map in [0, 1]; where it is 0 the picture stays grey.
        opacity (float): Share of the colour where the map is 1.

    Shape:
        - picture: (H, W)
        - heat: (h, w), resized to the picture
        - output: (H, W, 3)

    Returns:
        np.ndarray: uint8, RGB.

    Raises:
        ValueError: A map outside [0, 1], or arrays of another rank.
    """
    picture = np.asarray(picture, np.float32)
    heat = np.asarray(heat, np.float32)
    if picture.ndim != 2 or heat.ndim != 2:
        raise ValueError('an overlay needs a picture (H, W) and a map (h, w), got '
                         f'{picture.shape} and {heat.shape}')
    if not (heat.min() >= 0 and heat.max() <= 1):
        raise ValueError('an overlay needs a map in [0, 1], got '
                         f'{heat.min():g} to {heat.max():g}: normalise it first')
    span = float(np.ptp(picture)) or 1.
    grey = (picture - picture.min()) / span * 255
    heat = cv2.resize(heat, picture.shape[::-1], interpolation=cv2.INTER_LINEAR)
    colour = cv2.applyColorMap(
        (heat * 255).round().astype(np.uint8), cv2.COLORMAP_INFERNO)[..., ::-1]
    share = opacity * heat[..., None]
    mixed = (1 - share) * grey[..., None] + share * colour
    return mixed.round().clip(0, 255).astype(np.uint8)


def overlays_side_by_side(picture, maps, least_side=192):
    """The picture alone and under each map, each with its title.

    Args:
        picture (np.ndarray): As :func:`overlay_map`.
        maps (dict[str, np.ndarray]): Map in [0, 1] by title.
        least_side (int): Small pictures are enlarged to about so many pixels, by
            a whole factor.

    Shape:
        - picture: (H, W)
        - output: (H', W', 3)

    Returns:
        np.ndarray: uint8, RGB.
    """
    picture = np.asarray(picture, np.float32)
    factor = max(1, round(least_side / max(picture.shape)))
    panels = {'input': overlay_map(picture, np.zeros((1, 1)))}
    panels.update((name, overlay_map(picture, heat)) for name, heat in maps.items())
    shown = []
    for name, panel in panels.items():
        panel = panel.repeat(factor, 0).repeat(factor, 1)
        title = np.zeros((_TITLE_PX, panel.shape[1], 3), np.uint8)
        cv2.putText(title, name, (3, 15), cv2.FONT_HERSHEY_SIMPLEX, 0.42,
                    (255, 255, 255), 1, cv2.LINE_AA)
        shown.append(np.concatenate([title, panel]))
    return np.concatenate(shown, 1)
