"""Pixels -> frequency representations, inside the network's graph.

The bases are fixed buffers: they cannot drift between training, test and export. Everything
runs in float32 at least, never under bf16 autocast, because the logarithm of a small
coefficient amplifies rounding.

Sources: MD-CSDNetwork (Agarwal et al., FG 2021), section on frequency input, for the
log-scaled DCT, the FFT and the Haar DWT. `block_dct` and `residual` are ours: JPEG's own
grid, and what is left of the picture without its low frequencies.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional

from mdcsd.config import Frequency, Representation
from mdcsd.representation import LOG_FLOOR

N_BANDS = 64
"""Bands each way into which `log_dct_bands` pools a spectrum."""
BAND_FLOOR = 1.0
"""Added to a coefficient's magnitude where spectra are compared: rounding pixels to 8 bits
alone moves each orthonormal coefficient by .29 grey levels, so what is smaller says nothing."""
_BLOCK = 8


class FrequencyTransform(nn.Module):
    """Turns RGB pixels (B, 3, S, S), 0..255, into one of five frequency representations.

    | kind      | output (B, C', S', S')                                       | C' | S'       |
    |-----------|--------------------------------------------------------------|----|----------|
    | dct       | log(abs(DCT-II, orthonormal, whole picture) + 1e-12)         | 3  | S        |
    | fft       | abs(FFT), not centred                                        | 3  | S        |
    | dwt       | one Haar level: LL, LH, HL, HH of each channel               | 12 | ceil S/2 |
    | block_dct | log(abs(8 x 8 block DCT) + 1), coefficients left in place    | 3  | S        |
    | residual  | pixels without the coefficients with u + v <= S / 4          | 3  | S        |
    """

    _basis: torch.Tensor
    _low_pass: torch.Tensor

    def __init__(self, kind: Frequency, image_size_px: int) -> None:
        """Build the fixed basis for one picture size."""
        super().__init__()
        self.kind = kind
        self.out_channels = 12 if kind == "dwt" else 3
        basis = dct_matrix(_BLOCK if kind == "block_dct" else image_size_px)
        rank = torch.arange(image_size_px // 4 + 1)
        low_pass = (rank[:, None] + rank[None, :]) <= image_size_px / 4
        self.register_buffer("_basis", basis, persistent=False)
        self.register_buffer("_low_pass", low_pass, persistent=False)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """(B, 3, S, S) -> (B, C', S', S'), float32 or wider."""
        with torch.autocast(pixels.device.type, enabled=False):
            wide = pixels if pixels.dtype == torch.float64 else pixels.float()
            transforms: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
                "dct": self._log_dct,
                "fft": self._fft,
                "dwt": self._dwt,
                "block_dct": self._block_dct,
                "residual": self._residual,
            }
            frequencies: torch.Tensor = transforms[self.kind](wide)
            return frequencies

    def _log_dct(self, pixels: torch.Tensor) -> torch.Tensor:
        basis = self._basis.to(pixels.dtype)
        return torch.log((basis @ pixels @ basis.T).abs() + LOG_FLOOR)

    def _fft(self, pixels: torch.Tensor) -> torch.Tensor:
        magnitude: torch.Tensor = torch.fft.fft2(pixels).abs()
        return magnitude

    def _dwt(self, pixels: torch.Tensor) -> torch.Tensor:
        side = pixels.shape[-1]
        even = functional.pad(pixels, (0, side % 2, 0, side % 2), mode="replicate")
        a, b = even[..., 0::2, 0::2], even[..., 0::2, 1::2]
        c, d = even[..., 1::2, 0::2], even[..., 1::2, 1::2]
        bands = (a + b + c + d, a - b + c - d, a + b - c - d, a - b - c + d)
        return torch.cat(bands, dim=1) / 2  # 4 x (B, 3, S/2, S/2) -> (B, 12, S/2, S/2)

    def _block_dct(self, pixels: torch.Tensor) -> torch.Tensor:
        basis = self._basis.to(pixels.dtype)
        batch, channels, side, _ = pixels.shape
        padding = -side % _BLOCK
        whole = functional.pad(pixels, (0, padding, 0, padding), mode="replicate")
        n = (side + padding) // _BLOCK
        blocks = whole.view(batch, channels, n, _BLOCK, n, _BLOCK).transpose(3, 4)
        coefficients = basis @ blocks @ basis.T  # (B, C, n, n, 8, 8)
        in_place = coefficients.transpose(3, 4).reshape(whole.shape)
        return torch.log(in_place.abs() + 1.0)[..., :side, :side]

    def _residual(self, pixels: torch.Tensor) -> torch.Tensor:
        """Take away what the few low coefficients make: a fifth of the work of both transforms."""
        basis = self._basis[: len(self._low_pass)].to(pixels.dtype)
        low = (basis @ pixels @ basis.T) * self._low_pass
        return pixels - basis.T @ low @ basis


def dct(pixels: torch.Tensor) -> torch.Tensor:
    """Orthonormal type-II DCT of whole pictures, (..., S, S) -> (..., S, S)."""
    basis = dct_matrix(pixels.shape[-1]).to(pixels)
    return basis @ pixels @ basis.T


def inverse_dct(coefficients: torch.Tensor) -> torch.Tensor:
    """Undo `dct`, (..., S, S) -> (..., S, S)."""
    basis = dct_matrix(coefficients.shape[-1]).to(coefficients)
    return basis.T @ coefficients @ basis


def log_dct_bands(image: torch.Tensor, representation: Representation) -> torch.Tensor:
    """Pool the log-scaled DCT of network inputs into 64 x 64 bands.

    log(|coefficient| + 1) of 0..255 values, not + 1e-12 as the network reads it: the logarithm
    of a coefficient near zero is noise, and a mean over crops would be one of noise. Band i
    is the mean over the coefficients floor(i S / 64) to ceil((i + 1) S / 64) - 1 of that axis
    (adaptive average pooling), so that where 64 does not divide S neighbours share one.

    Args:
        image: float32 (B, C, S, S), as `preprocess.to_tensor` makes it.
        representation: what it holds.

    Returns: float32 (B, C, 64, 64), lowest frequency at [0, 0].
    """
    if representation == "dct_log_scaled":
        magnitude = image.exp()
    else:
        magnitude = (dct(image) if representation == "raw" else image).abs()
    return functional.adaptive_avg_pool2d(torch.log(magnitude + BAND_FLOOR), N_BANDS)


def dct_matrix(side: int) -> torch.Tensor:
    """Build the orthonormal type-II DCT matrix D, float64 (side, side): D @ x is the DCT of x."""
    place = torch.arange(side, dtype=torch.float64)
    matrix = torch.cos(math.pi / side * (place[None, :] + 0.5) * place[:, None])
    matrix *= math.sqrt(2.0 / side)
    matrix[0] /= math.sqrt(2.0)
    return matrix
