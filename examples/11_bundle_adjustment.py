"""Bundle adjustment: cameras and points of a scene found from where the points appear in the images.

The cameras are those of the "bundle adjustment in the large" data sets: a rotation vector, a translation, a focal
length and two coefficients of radial distortion, nine numbers each. A residual sees one camera and one point, so a
row of the Jacobian has 12 entries that are not 0, whatever the size of the scene; `sparse="csr"` computes these and
no other. SciPy's `least_squares` does the rest. Without a C compiler NumPy takes its place.
"""

import numpy as np
from scipy.optimize import least_squares
from scipy.sparse import hstack

import gradsmith as gs
from gradsmith_runtime import CompilerNotFoundError, find_compiler

CAMERAS, POINTS, SEEN = 6, 60, 4  # each point is seen by four of the cameras


def rotate(r, x):
    """Rodrigues' formula: points `x` (N, 3) turned about the axes `r` (N, 3) by the angles |r|."""
    angle = gs.sqrt(gs.sum(r**2, axis=1))[:, None]
    axis = r / angle
    along = gs.sum(axis * x, axis=1)[:, None]
    c = gs.cos(angle)
    return c * x + gs.sin(angle) * gs.cross(axis, x) + (1.0 - c) * along * axis


def project(cameras, points):
    """Where the cameras (N, 9) see the points (N, 3), in pixels from the centre of the image."""
    turned = rotate(cameras[:, :3], points) + cameras[:, 3:6]
    plane = -turned[:, :2] / turned[:, 2:]
    square = gs.sum(plane**2, axis=1)
    focal, k1, k2 = cameras[:, 6], cameras[:, 7], cameras[:, 8]
    return (focal * (1.0 + square * (k1 + k2 * square)))[:, None] * plane


def residuals_of(which_camera, which_point):
    """The function of cameras (C, 9), points (P, 3) and observations (N, 2) that bundle adjustment minimises."""

    def residuals(cameras, points, observed):
        return project(cameras[which_camera], points[which_point]) - observed

    return residuals


def scene(rng, cameras=CAMERAS, points=POINTS, seen=SEEN):
    """Cameras on an arc that look at a cloud of points, and which camera sees which point."""
    angles = np.linspace(-0.6, 0.6, cameras) + 0.03
    true = np.zeros((cameras, 9))
    true[:, 1] = angles  # about the vertical axis
    true[:, 3:6] = rng.normal(0.0, 0.1, (cameras, 3)) + (0.0, 0.0, -5.0)
    true[:, 6:] = 500.0, -0.05, 0.01
    which_camera = np.concatenate([rng.permutation(cameras)[:seen] for _ in range(points)])
    return true, rng.uniform(-1.0, 1.0, (points, 3)), which_camera, np.repeat(np.arange(points), seen)


def main():
    try:
        find_compiler()
        target = "c"
    except CompilerNotFoundError as error:
        target = "numpy"
        print(f"No C compiler, so NumPy: {error}\n")

    rng = np.random.default_rng(0)
    true_cameras, true_points, which_camera, which_point = scene(rng)
    shape = (len(which_camera), 2)
    f = gs.compile(
        residuals_of(which_camera, which_point),
        args=((CAMERAS, 9), (POINTS, 3), shape),
        wrt=("cameras", "points"),
        target=target,
        derivatives=("value", "jacobian"),
        sparse="csr",
    )

    # observations with noise of half a pixel, and a start that is off by several per cent
    observed = np.reshape(f(true_cameras, true_points, np.zeros(shape)), shape) + rng.normal(0.0, 0.5, shape)
    scale = np.array([0.03] * 3 + [0.05] * 3 + [10.0, 0.01, 0.001])
    cameras = true_cameras + rng.normal(size=(CAMERAS, 9)) * scale
    points = true_points + rng.normal(0.0, 0.05, (POINTS, 3))

    split = lambda v: (v[: CAMERAS * 9].reshape(CAMERAS, 9), v[CAMERAS * 9 :].reshape(POINTS, 3))
    found = least_squares(
        lambda v: np.ravel(f(*split(v), observed)),
        np.concatenate([cameras.ravel(), points.ravel()]),
        jac=lambda v: hstack(f.jacobian(*split(v), observed), format="csr"),
        x_scale="jac",
        ftol=1e-8,
        max_nfev=50,
    )

    jacobian = found.jac
    print(f"{CAMERAS} cameras, {POINTS} points, {2 * len(observed)} residuals, {len(found.x)} unknowns")
    print(f"Jacobian: {jacobian.shape[0]} by {jacobian.shape[1]}, {jacobian.nnz} entries that are not 0")
    rms = lambda r: np.sqrt(np.mean(r**2))
    begin = rms(np.ravel(f(cameras, points, observed)))
    print(f"\nroot mean square of the residuals: {begin:.2f} pixels at the start,")
    print(f"{rms(found.fun):.3f} after {found.njev} Jacobians; the noise is 0.5")
    assert rms(found.fun) < 0.5
    print(f"\n{f.cost}")


if __name__ == "__main__":
    main()
